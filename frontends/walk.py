"""What the walks over the models of all formats share: fates of nodes, problems, the result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from armlet.compiler.ir import Const, Module, Value, Var
from armlet.errors import ModelFileError, UnsupportedModelError

from .emitter import Emitter
from .inputs import Declared, InputShapes
from .operands import FreeDimension, Symbolic, Unsupported
from .report import NodeReport, Problem, Report, Status, summary

#: nodes after functions and subgraphs are expanded
MAX_NODES = 1_000_000


class Poison:
    """The value of a tensor that could not be imported; ``culprit`` is the node at fault."""

    def __init__(self, culprit: str) -> None:
        self.culprit = culprit


class NotReached(Exception):
    """A node reads what could not be imported."""

    def __init__(self, culprit: str) -> None:
        self.culprit = culprit


class Walk:
    """The import of one model: ``nodes`` and ``problems`` tell what happened.

    A front end derives its importer from this, and fills ``params`` and ``results``.
    """

    def __init__(
        self,
        path: Path,
        declared: Mapping[str, Sequence[Declared] | None],
        shapes: Mapping[str, Sequence[int]],
    ) -> None:
        self.path = path
        self.emitter = Emitter()
        self.shapes = InputShapes(declared, shapes, str(path))
        self.nodes: list[NodeReport] = []
        self.problems: list[Problem] = []
        self.params: list[Var] = []
        self.results: list[Value] = []

    def output_names(self) -> tuple[str, ...]:
        raise NotImplementedError

    def metadata(self) -> dict[str, Any]:
        """What the file tells of itself; ``format`` must be there."""
        raise NotImplementedError

    def module(self) -> Module:
        """The imported model; only where there are no problems."""
        if self.problems:
            raise UnsupportedModelError(
                summary(self.problems), problems=self.problems, where=str(self.path)
            )
        main = self.emitter.finish(self.params, self.results)
        return Module(
            main, self.output_names(), {**self.metadata(), "notes": list(self.shapes.notes)}
        )

    def report(self) -> Report:
        outputs = {}
        if not self.problems:
            outputs = {n: str(v.type) for n, v in zip(self.output_names(), self.results)}
        return Report(
            str(self.path),
            tuple(self.nodes),
            tuple(self.problems),
            {p.name: str(p.type) for p in self.params},
            outputs,
            tuple(self.shapes.notes),
        )

    def parameter(self, name: str, dtype: str) -> Var:
        """A new parameter of the function."""
        param = Var(name, self.shapes.type(name, dtype))
        self.params.append(param)
        return param

    def result(self, name: str, found: object) -> None:
        """What output ``name`` turned out to be; a poisoned one has been told already."""
        if isinstance(found, Symbolic):
            error = FreeDimension(f"output {name!r} depends on", found.free)
            self.problem("output", name, "", error)
        elif isinstance(found, (Var, Const)):
            self.results.append(found)

    def fate(self, start: int, outputs: Iterable[object], reason: str) -> tuple[Status, str]:
        """What became of a node whose calls begin at ``start``, by their number."""
        if any(isinstance(v, Poison) for v in outputs):
            return Status.NOT_REACHED, reason
        made = self.emitter.calls[start:]
        if len(made) < 2:
            return (Status.NATIVE if made else Status.FOLDED), reason
        names = ", ".join(c.op.name for c in made[:12])
        return Status.DECOMPOSED, reason or f"into {names}"

    def told(self, name: str, operator: str, status: Status, reason: str) -> None:
        self.nodes.append(NodeReport(name, operator, status, reason))
        if len(self.nodes) > MAX_NODES:
            raise ModelFileError(f"the model has more than {MAX_NODES} nodes", where=str(self.path))

    def problem(self, operator: str, node: str, version: str, error: Unsupported) -> None:
        way_out = error.way_out
        if isinstance(error, FreeDimension):
            way_out = self.shapes.way_out(error.names)
        self.problems.append(
            Problem(node, operator, version, error.reason, error.attribute, way_out)
        )
