"""From a plan to the C text of the executor's tables (``runtime/src/tables.h``).

Everything refers by index or offset: strings, shapes and locations lie in one array each.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from armlet.compiler.ir import TensorType
from armlet.compiler.ir.types import SHORT_NAMES
from armlet.compiler.plan.plan import ALIGNMENT, Location, Plan, Space, Tensor

from .selftest import SelfTest

FORMAT = 2

_DTYPES = {name: code for code, name in enumerate(SHORT_NAMES, start=1)}
_BASE_INPUTS = 2


def write_constants(plan: Plan, file: BinaryIO) -> None:
    for offset, array in plan.constants:
        file.seek(offset)
        file.write(array.data if array.flags.c_contiguous else array.tobytes())
    for offset, region in zip(_blob_offsets(plan), plan.regions):
        file.seek(offset)
        file.write(region.program.blob)
    file.truncate(max(_blob_offsets(plan)[-1], 1))


def _blob_offsets(plan: Plan) -> list[int]:
    """Where each region's blob begins, after the constants; then where the last one ends."""
    sizes = [_padded(len(r.program.blob)) for r in plan.regions]
    return list(itertools.accumulate(sizes, initial=plan.constant_bytes))


def source(
    plan: Plan,
    features: Sequence[str],
    manifest: Mapping[str, Any],
    selftest: SelfTest | None,
    constants: Path,
    section: Sequence[str],
) -> str:
    """C text; ``constants`` is the file that ``write_constants`` filled, and ``section`` the
    assembly that begins its section."""
    text = _constants(plan, constants, section)
    return _Writer(plan).source(features, manifest, selftest, text)


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _quoted(data: bytes) -> str:
    plain = {ord('"'): '\\"', ord("\\"): "\\\\"}
    return "".join(plain.get(b) or (chr(b) if 32 <= b < 127 else f"\\{b:03o}") for b in data)


def _string(name: str, data: bytes) -> str:
    lines = [data[at : at + 96] for at in range(0, len(data), 96)] or [b""]
    text = "\n".join(f'    "{_quoted(line)}"' for line in lines)
    return f"static const char {name}[] =\n{text};"


def _array(type: str, name: str, rows: Iterable[object]) -> str:
    text = ",\n".join(f"    {row}" for row in rows) or "    0"
    return f"static const {type} {name}[] = {{\n{text}}};"


def _real(value: float) -> str:
    if value != value:
        return '__builtin_nan("")'
    if value in (float("inf"), float("-inf")):
        return "-__builtin_inf()" if value < 0 else "__builtin_inf()"
    return float(value).hex()


class _Writer:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.strings = bytearray()
        self.string_at: dict[str, int] = {}
        self.extents: list[int] = []
        self.locations: list[str] = []
        self.features: list[str] = []

    def text(self, text: str) -> int:
        if text not in self.string_at:
            self.string_at[text] = len(self.strings)
            self.strings += text.replace("\0", "").encode() + b"\0"
        return self.string_at[text]

    def tensor(self, name: str, type: TensorType, source: str = "") -> str:
        shape = len(self.extents)
        self.extents += type.static_shape
        fields = (type.bytes, self.text(name), self.text(source), shape, type.rank)
        return f"{{{', '.join(map(str, fields))}, {_DTYPES[type.dtype]}}}"

    def location(self, at: Location) -> str:
        base = {
            Space.ARENA: 0,
            Space.CONSTANT: 1,
            Space.INPUT: _BASE_INPUTS + at.index,
            Space.OUTPUT: _BASE_INPUTS + len(self.plan.inputs) + at.index,
        }[at.space]
        return f"{{{at.offset}, {base}}}"

    def tensors(self, name: str, tensors: Sequence[Tensor]) -> str:
        return _array("tensor_entry", name, (self.tensor(t.name, t.type) for t in tensors))

    def pointers(self) -> list[int]:
        """How many pointers each kernel takes."""
        counts = {task.kernel: len(task.arguments) for task in self.plan.tasks}
        own = [counts.get(i, 0) for i in range(len(self.plan.kernels))]
        return [*own, *(own[v.kernel] for v in self.plan.versions)]

    def kernels(self) -> str:
        calls, rows = [], []
        for i, (kernel, count) in enumerate(zip(self.plan.code, self.pointers())):
            types, values = "void *, " * count, "".join(f"p[{n}], " for n in range(count))
            calls += [
                f"void {kernel.symbol}({types}int32_t, int32_t, void *);",
                f"static void call_{i}(void *const *p, int32_t begin, int32_t end,",
                "                   void *scratch) {",
                f"    {'' if count else '(void)p; '}{kernel.symbol}({values}begin, end, scratch);",
                "}",
            ]
            name = self.text(kernel.template)
            rows.append(f"{{call_{i}, {name}, {count}, {kernel.extent}, {kernel.ways}}}")
        return "\n".join([*calls, _array("kernel_entry", "kernels", rows)])

    def versions(self) -> str:
        """The table of versions; the features that they need follow the model's own."""
        rows = []
        for i, version in enumerate(self.plan.versions, start=len(self.plan.kernels)):
            place, count = len(self.features), len(version.features)
            rows.append(f"{{{version.kernel}, {i}, {place}, {count}}}")
            self.features += version.features
        return _array("version_entry", "versions", rows or ["{0}"])

    def tasks(self) -> str:
        rows = []
        for task in self.plan.tasks:
            value = self.tensor(task.value, task.type, task.source)
            rows.append(f"{{{task.kernel}, {len(self.locations)}, {value}}}")
            self.locations += [self.location(at) for at in task.arguments]
        return _array("task_entry", "tasks", rows)

    def regions(self) -> str:
        programs = [r.program for r in self.plan.regions]
        declared = [
            f"extern const armlet_npu_api {api};" for api in dict.fromkeys(p.api for p in programs)
        ]
        rows = []
        for region, blob in zip(self.plan.regions, _blob_offsets(self.plan)):
            first, made = len(self.locations), region.program
            self.locations += [self.location(at) for at in (*region.inputs, *region.outputs)]
            fields = (
                f"&{made.api}", blob, len(made.blob), region.first_task, region.task_count,
                first, first + len(region.inputs), len(region.inputs), len(region.outputs),
                self.text(made.name), self.text(made.back_end),
            )  # fmt: skip
            rows.append(f"{{{', '.join(map(str, fields))}}}")
        return "\n".join([*declared, _array("region_entry", "regions", rows or ["{0}"])])

    def selftest(self, test: SelfTest | None) -> str:
        rows: list[str] = []
        values: list[str] = []
        for output in test.outputs if test else ():
            count = len(output.values)
            rows.append(f"{{{_real(output.tolerance)}, {output.stride}, {len(values)}, {count}}}")
            values += [_real(v) for v in output.values]
        return "\n".join(
            [
                _array("expectation_entry", "selftest", rows or ["{0}"]),
                _array("double", "selftest_values", values),
            ]
        )

    def source(
        self,
        features: Sequence[str],
        manifest: Mapping[str, Any],
        selftest: SelfTest | None,
        constants: str,
    ) -> str:
        self.features += features
        document = json.dumps(manifest, separators=(",", ":"), ensure_ascii=False).encode()
        parts = [
            '#include "tables.h"',
            f'_Static_assert(ARMLET_FORMAT == {FORMAT}, "tables of another format");',
            constants,
            self.tensors("inputs", self.plan.inputs),
            self.tensors("outputs", self.plan.outputs),
            self.kernels(),
            self.versions(),
            self.tasks(),
            self.regions(),
            _array("uint32_t", "features", map(self.text, self.features)),
            _array("location_entry", "locations", self.locations),
            _array("int64_t", "extents", self.extents),
            self.selftest(selftest),
            _string("manifest", document),
            _string("strings", bytes(self.strings)),
            self.model(len(features), len(document), selftest),
        ]
        return "\n".join(parts) + "\n"

    def model(self, feature_count: int, manifest_size: int, selftest: SelfTest | None) -> str:
        plan = self.plan
        scratch = max((_padded(k.scratch) for k in plan.code), default=0)
        fields: dict[str, object] = {
            "format": FORMAT,
            "input_count": len(plan.inputs),
            "output_count": len(plan.outputs),
            "task_count": len(plan.tasks),
            "region_count": len(plan.regions),
            "ways": max((k.ways for k in plan.code), default=1),
            "most_pointers": max(self.pointers(), default=0),
            "feature_count": feature_count,
            "kernel_count": len(plan.kernels),
            "version_count": len(plan.versions),
            "arena_bytes": _padded(plan.arena_bytes),
            "scratch_bytes": scratch,
            "constants": "armlet_constants",
            "manifest_size": manifest_size,
            "selftest_seed": selftest.seed if selftest else 0,
            "selftest": "selftest" if selftest else 0,
        }
        arrays = "inputs outputs kernels versions tasks regions locations extents strings features"
        fields |= {name: name for name in [*arrays.split(), "manifest", "selftest_values"]}
        rows = "\n".join(f"    .{name} = {value}," for name, value in fields.items())
        return f"const model_tables armlet_model = {{\n{rows}\n}};"


def _constants(plan: Plan, file: Path, section: Sequence[str]) -> str:
    lines = [
        *section,
        f".balign {ALIGNMENT}",
        ".globl armlet_constants",
        "armlet_constants:",
        f'.incbin "{file}"',
        ".text",
    ]
    text = "\n".join(f'    "{_quoted(line.encode())}\\n"' for line in lines)
    declared = 'extern const unsigned char armlet_constants[] __asm__("armlet_constants");'
    return f"__asm__(\n{text});\n{declared}"
