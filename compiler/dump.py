"""The stages of compiling one model as text, for people: ``--dump-passes``, ``ARMLET_DEBUG``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from armlet.compiler.ir import Function, print_function
from armlet.compiler.ir.group import Group
from armlet.compiler.plan.plan import Location, Plan, Space
from armlet.errors import OutputError


def groups_text(groups: Sequence[Group], plan: Plan) -> str:
    """Each kernel call with the operators in it."""
    parts = []
    for number, (group, task) in enumerate(zip(groups, plan.tasks, strict=True)):
        kernel = plan.kernels[task.kernel]
        parts.append(
            f"group {number}: {task.value} = {group.op_names}  # {task.source!r}\n"
            f"  kernel {task.kernel}, template {kernel.template}, {group.macs} MACs\n"
            + "".join(f"  {line}\n" for line in group.text.splitlines())
        )
    return "\n".join(parts)


def _place(location: Location) -> str:
    index = location.index if location.space in (Space.INPUT, Space.OUTPUT) else ""
    return f"{location.space.name.lower()}{index}+{location.offset}"


def plan_text(plan: Plan) -> str:
    """Every task with where its arguments lie, then the sizes."""
    lines = [
        f"task {number}: {task.value}: {task.type} = kernel {task.kernel}"
        f"({', '.join(map(_place, task.arguments))})  # {task.source!r}"
        for number, task in enumerate(plan.tasks)
    ]
    lines += [
        f"kernel {number}: {kernel.template}, extent {kernel.extent}, scratch {kernel.scratch}"
        for number, kernel in enumerate(plan.kernels)
    ]
    lines += [
        f"arena {plan.arena_bytes} bytes, lower bound {plan.arena_lower_bound}",
        f"constants {plan.constant_bytes} bytes",
    ]
    return "\n".join(lines) + "\n"


class Dump:
    """Writes one file a stage, as soon as the stage is done."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._error(folder, error) from None

    def stage(self, name: str, function: Function) -> None:
        self._write(f"{self.count:02d}-{name}.txt", print_function(function))
        self.count += 1

    def plan(self, groups: Sequence[Group], plan: Plan) -> None:
        self._write("groups.txt", groups_text(groups, plan))
        self._write("plan.txt", plan_text(plan))

    def _write(self, name: str, text: str) -> None:
        try:
            (self.folder / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise self._error(self.folder / name, error) from None

    @staticmethod
    def _error(path: Path, error: OSError) -> OutputError:
        return OutputError(
            f"the stages cannot be written: {error.strerror or error}",
            where=str(path),
            way_out="choose another folder for --dump-passes",
        )
