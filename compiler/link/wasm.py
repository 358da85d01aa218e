"""WebAssembly modules: how they are linked, and what they promise.

A module brings its memory and takes from JavaScript what a C library would give elsewhere:
functions of ``Math``, by the names of C's, and a clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import armlet.runtime

from . import toolchain
from .format import CONSTANT_SECTION, Extent, Format, FormatError, LinkTarget

#: what runtime/bindings/js/armlet.mjs gives: C's function where it is one of Math's
_MATH = (
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cos", "cosh", "exp",
    "expm1", "fmod", "hypot", "log", "log10", "log1p", "log2", "pow", "sin", "sinh", "tan", "tanh",
)  # fmt: skip
_IMPORTS = ("now", *_MATH, *(f"{name}f" for name in _MATH))
#: for the caller's buffers, and for observers
_ALSO = ("free", "malloc")
_BESIDE = ("__indirect_function_table", "memory")

_OPTIONS = (
    "--no-entry", "--strip-all", "--gc-sections", "--stack-first", "-z", "stack-size=1048576",
    "--export-table", "--growable-table", "--allow-undefined-file=imports",
)  # fmt: skip

#: what there is of a C library
_OWN = Path(armlet.runtime.__file__).parent / "web"

_CUSTOM, _IMPORT, _EXPORT, _CODE, _DATA = 0, 2, 7, 10, 11
_HEADER = 8


def _number(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """An unsigned LEB128 and what is behind it."""
    value = shift = 0
    while True:
        if at >= len(data):
            raise FormatError("the file is truncated")
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _leb(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _sections(data: bytes | memoryview) -> Iterator[tuple[int, Extent]]:
    at = _HEADER
    while at < len(data):
        kind = data[at]
        size, at = _number(data, at + 1)
        yield kind, Extent(at, size)
        at += size


def _section(data: bytes | memoryview, kind: int) -> Extent:
    return next((e for found, e in _sections(data) if found == kind), Extent(len(data), 0))


def _name(data: bytes | memoryview, at: int) -> tuple[str, int]:
    size, at = _number(data, at)
    return bytes(data[at : at + size]).decode(errors="replace"), at + size


def exports(data: bytes) -> list[str]:
    """Of any kind."""
    extent = _section(data, _EXPORT)
    if not extent.size:
        return []
    count, at = _number(data, extent.offset)
    names = []
    for _ in range(count):
        name, at = _name(data, at)
        _, at = _number(data, at + 1)
        names.append(name)
    return names


def imports(data: bytes) -> list[str]:
    """Functions; whatever else would be imported is named by its kind, and ends the list."""
    extent = _section(data, _IMPORT)
    if not extent.size:
        return []
    count, at = _number(data, extent.offset)
    names: list[str] = []
    for _ in range(count):
        module, at = _name(data, at)
        name, at = _name(data, at)
        if module != "env" or data[at] != 0:
            return [*names, f"{module}.{name}"]
        _, at = _number(data, at + 1)
        names.append(name)
    return names


def _compiler(triple: str) -> list[object]:
    """The bare one, with no headers but its own and ours."""
    headers = ["-nostdinc", "-isystem", toolchain.headers(), f"-I{_OWN}"]
    return ["clang", f"--target={toolchain.llvm_triple(triple)}", *headers]


def _link(
    inputs: Sequence[object], names: Sequence[str], target: LinkTarget, soname: str, folder: Path
) -> Path:
    (folder / "imports").write_text("\n".join(_IMPORTS))
    (folder / "inputs").write_text("".join(f'"{name}"\n' for name in inputs))
    artifact = folder / "model.wasm"
    exported = [f"--export={name}" for name in (*names, *_ALSO)]
    command = ["wasm-ld", *_OPTIONS, *exported, "-o", artifact, "@inputs"]
    toolchain.run("linking", command, folder)
    return artifact


def _problems(data: bytes, target: LinkTarget, names: Sequence[str]) -> list[str]:
    problems = []
    surplus = set(exports(data)) ^ {*names, *_ALSO, *_BESIDE}
    if surplus:
        problems.append(f"exports are not those of armlet.h: {', '.join(sorted(surplus))}")
    foreign = set(imports(data)) - set(_IMPORTS)
    if foreign:
        problems.append(f"it needs more than JavaScript's Math: {', '.join(sorted(foreign))}")
    return problems


def _parts(data: memoryview) -> dict[str, Extent]:
    """The linker lays the weights behind all other data."""
    code, segments = _section(data, _CODE), _section(data, _DATA)
    if not segments.size:
        raise FormatError("it was not made by armlet")
    count, at = _number(data, segments.offset)
    last = Extent(at, 0)
    for _ in range(count):
        # flags, then a constant expression (i32.const address end), then the bytes
        _, at = _number(data, at)
        _, at = _number(data, at + 1)
        size, at = _number(data, at + 1)
        last = Extent(at, size)
        at += size
    tables = Extent(segments.offset, last.offset - segments.offset)
    return {"code": code, "tables": tables, "weights": last}


def _code_bytes(object: bytes) -> int:
    return sum(_section(object, kind).size for kind in (_CODE, _DATA))


def _instructions(object: bytes) -> bytes:
    code = _section(object, _CODE)
    return object[code.offset : code.offset + code.size]


def _trailer(size: int) -> bytes:
    """The head of a custom section."""
    name = b"armlet.seal"
    name = _leb(len(name)) + name
    return bytes([_CUSTOM]) + _leb(len(name) + size) + name


FORMAT = Format(
    magic=b"\0asm",
    flags=("-mbulk-memory",),
    compiler=_compiler,
    instead=_OWN.name,
    section=(f'.section {CONSTANT_SECTION},"",@', ".hidden armlet_constants"),
    link=_link,
    problems=_problems,
    parts=_parts,
    code_bytes=_code_bytes,
    instructions=_instructions,
    trailer=_trailer,
)
