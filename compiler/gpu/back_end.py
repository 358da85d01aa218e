"""GPUs as a back end: what they take of a model, what it costs, and its program as a blob."""

from __future__ import annotations

from collections.abc import Collection

from armlet.compiler.ir import Call, Function, Var
from armlet.compiler.ir.group import Group
from armlet.compiler.lower.cache import compiler_hash
from armlet.compiler.passes.fuse import fuse
from armlet.compiler.passes.narrow_to_half import narrow_to_half
from armlet.targets.gpu import GPUS, Gpu, gpu
from armlet.targets.npu import BackEnd, Estimate, Rejected, Supported, boundary_bytes

from .lower import compile_region, on_gpu
from .pack import pack
from .prices import COPY, START, seconds
from .shim import API, SHIM

#: steps that follow one another in time: a work item for each would be idle
_RECURRENT = ("lstm", "gru", "gru_reset_first", "rnn")
#: relative to the largest magnitude of an output
_HALF_TOLERANCE = 3e-2


class OpenCl(BackEnd):
    """One GPU. In float16 (``half``) layers whose results are ``single`` stay in float32, and the
    sums of those that are ``wide`` are in float32."""

    name = "opencl"
    chips = tuple(GPUS)
    api = API
    shim = SHIM

    def __init__(
        self,
        chip: str = "generic",
        half: bool = False,
        single: Collection[str] = (),
        wide: Collection[str] = (),
    ) -> None:
        self.gpu: Gpu = gpu(chip)
        self.chip = self.gpu.name
        self.half = half and self.gpu.half
        self._single, self._wide = frozenset(single), frozenset(wide)
        if self.half:
            self.tolerance = _HALF_TOLERANCE  # type: ignore[misc]

    @property
    def version(self) -> str:
        layers = (sorted(self._single), sorted(self._wide)) if self.half else ()
        return f"{compiler_hash()} {self.gpu.key} {self.half} {layers}"

    def query(self, call: Call) -> Supported | Rejected:
        values = [v for v in (*call.operands, *call.outputs) if isinstance(v, Var)]
        others = sorted({v.type.dtype for v in values} - {"float32"})
        if others:
            return Rejected(f"tensors of {', '.join(others)}, and float32 is what it exchanges")
        if any(v.type.dtype == "float64" for v in call.operands):
            return Rejected("it has no float64")
        if call.op.name in _RECURRENT:
            return Rejected("its steps follow one another, which leaves a GPU idle")
        if not all(v.type.elements for v in values):
            return Rejected("tensors without elements")
        return Supported()

    def _narrowed(self, region: Function) -> Function:
        if not self.half:
            return region

        def named(names: Collection[str]) -> list[Call]:
            return [c for c in region if any(v.name in names for v in c.outputs)]

        return narrow_to_half(region, named(self._single), named(self._wide))

    def estimate(self, region: Function) -> Estimate:
        function = on_gpu(self._narrowed(region))
        groups = [item for item in fuse(function) if isinstance(item, Group)]
        return Estimate(
            transfer=boundary_bytes(region) / COPY,
            launch=START + len(groups) * self.gpu.launch_us * 1e-6,
            work=sum(seconds(group, self.gpu) for group in groups),
        )

    def compile(self, region: Function) -> bytes:
        return pack(compile_region(self._narrowed(region), self.gpu))
