"""Dynamic libraries for macOS and static ones for iOS: how they are linked, and what they promise.

zig's linker knows what Apple's C library (libSystem) has, and signs what it links as Apple's Arm
machines ask: ad hoc, by nobody. A static library is one object, already linked within, so that of
two models in one application only the names of armlet.h can meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from . import libc, toolchain
from .format import CONSTANT_SECTION, Extent, Format, FormatError, LinkTarget
from .macho import ARM64, IOS, MACOS, MAGIC, OBJECT, MachO

_LIBRARY = "/usr/lib/libSystem.B.dylib"
#: what of it is used beside mathematics; compilers call the last row's unasked
_IMPORTS = (
    "calloc", "clock_gettime", "free", "posix_memalign", "pthread_attr_destroy",
    "pthread_attr_init", "pthread_attr_setstacksize", "pthread_cond_broadcast",
    "pthread_cond_wait", "pthread_create", "pthread_join", "pthread_mutex_lock",
    "pthread_mutex_unlock", "pthread_set_qos_class_self_np", "pthread_sigmask", "snprintf",
    "strcmp", "strlen", "sysctlbyname", "vsnprintf",
    "bzero", "memcmp", "memcpy", "memmove", "memset", "memset_pattern16", "dyld_stub_binder",
)  # fmt: skip
#: what zig's linker exports of any library
_BESIDE = ("__dso_handle", "_mh_dylib_header")

#: nothing of zig's own goes in
_BARE = ("-fno-compiler-rt", "-fno-ubsan-rt", "-fstrip")
_WEIGHTS = f"__{CONSTANT_SECTION.removeprefix('.armlet_')}"
_PARTS = {"__text": "code", "__const": "tables", _WEIGHTS: "weights"}
_PAGE = 16 << 10

#: how an archive begins, and the head of each of its members
_ARCHIVE = b"!<arch>\n"
_MEMBER_BYTES = 60
_MEMBER = "model.o"


def _compiler(triple: str) -> list[object]:
    """The bare one, with Apple's public headers, as zig brings them."""
    headers = toolchain.zig().parent / "lib" / "libc" / "include" / "any-darwin-any"
    folders = ["-nostdinc", "-isystem", toolchain.headers(), "-isystem", headers]
    # checks of memcpy and such that Apple's headers add are of no use: sizes are constants
    plain = "-D_FORTIFY_SOURCE=0"
    return ["clang", f"--target={toolchain.llvm_triple(triple)}", plain, *folders]


def _hide(inputs: Sequence[object], folder: Path) -> None:
    """Of the objects in ``folder``, the model's own: the rest of the runtime is compiled so."""
    for path in (folder / str(name) for name in inputs):
        if path.parent == folder:
            path.write_bytes(MachO(path.read_bytes(), OBJECT).hidden())


def _link_dylib(
    inputs: Sequence[object], names: Sequence[str], target: LinkTarget, soname: str, folder: Path
) -> Path:
    _hide(inputs, folder)
    artifact = folder / "model.dylib"
    # room for a longer name, which install_name_tool may give it
    named = ["-headerpad_max_install_names", "-install_name", f"@rpath/{soname or artifact.name}"]
    options = ["-target", target.zig_triple, *_BARE, "-dead_strip", *named, "-lc"]
    command = ["build-lib", "-dynamic", *options, *inputs, f"-femit-bin={artifact.name}"]
    toolchain.run("linking", command, folder)
    return artifact


def _link_archive(
    inputs: Sequence[object], names: Sequence[str], target: LinkTarget, soname: str, folder: Path
) -> Path:
    _hide(inputs, folder)
    artifact = folder / "model.a"
    options = ["-target", target.zig_triple, *_BARE]
    toolchain.run("linking", ["build-obj", *options, *inputs, f"-femit-bin={_MEMBER}"], folder)
    member = folder / _MEMBER
    member.write_bytes(MachO(member.read_bytes(), OBJECT).compacted())
    command = ["ar", "--format=darwin", "rcsD", artifact, _MEMBER]
    toolchain.run("archiving", command, folder)
    return artifact


def _oldest(triple: str) -> tuple[int, int]:
    """The version of the system that a zig triple ends with: aarch64-ios.15.0-none."""
    major, minor = triple.split("-")[1].split(".")[1:3]
    return int(major), int(minor)


def _problems_of_any(
    file: MachO, target: LinkTarget, system: int, names: Sequence[str]
) -> list[str]:
    problems = []
    if file.machine != ARM64:
        problems.append("it is not for 64-bit Arm")
    if file.build != (system, _oldest(target.zig_triple)):
        problems.append(f"it is made for another system than {target.zig_triple}")
    surplus = set(file.exports) ^ set(names)
    if surplus:
        problems.append(f"exports are not those of armlet.h: {', '.join(sorted(surplus))}")
    missing = set(file.imports).difference(_IMPORTS, libc.MATHEMATICS)
    if missing:
        problems.append(f"it needs more than the C library: {', '.join(sorted(missing))}")
    return problems


def _problems_of_dylib(data: bytes, target: LinkTarget, names: Sequence[str]) -> list[str]:
    file = MachO(data)
    problems = _problems_of_any(file, target, MACOS, [*names, *_BESIDE])
    foreign = set(file.needed) - {_LIBRARY}
    if foreign:
        problems.append(f"it needs more than the C library: {', '.join(sorted(foreign))}")
    if not file.install_name.startswith("@rpath/"):
        problems.append("it has no name that is relative to the program")
    if not file.signed:
        problems.append("it has no signature")
    if any(s.writable_code for s in file.segments):
        problems.append("a segment is writable and executable")
    if any(s.address % _PAGE for s in file.segments):
        problems.append(f"a segment is not aligned to pages of {_PAGE >> 10} KiB")
    return problems


def _problems_of_archive(data: bytes, target: LinkTarget, names: Sequence[str]) -> list[str]:
    extent = _member(memoryview(data))
    return _problems_of_any(_object_in(memoryview(data), extent), target, IOS, names)


def _member(data: memoryview) -> Extent:
    """The object in an archive, whose members' names are behind their heads (``ar(5)`` of BSD)."""
    at = len(_ARCHIVE)
    while at < len(data):
        head = bytes(data[at : at + _MEMBER_BYTES])
        try:
            size, length = int(head[48:58]), int(head[3:16]) if head.startswith(b"#1/") else 0
        except ValueError:
            raise FormatError("the archive is damaged") from None
        begin, end = at + _MEMBER_BYTES + length, at + _MEMBER_BYTES + size
        if end > len(data) or begin > end:
            raise FormatError("the archive is truncated")
        if bytes(data[begin : begin + 4]) == MAGIC:
            return Extent(begin, end - begin)
        at = end + end % 2
    raise FormatError("the archive has no object of 64-bit Mach-O")


def _object_in(data: memoryview, extent: Extent) -> MachO:
    return MachO(data[extent.offset : extent.offset + extent.size], OBJECT)


def _parts_of(file: MachO) -> dict[str, Extent]:
    found = {s.name: s.extent for s in file.sections if s.segment == "__TEXT"}
    if _WEIGHTS not in found:
        raise FormatError("it was not made by armlet")
    return {what: found[name] for name, what in _PARTS.items() if name in found}


def _parts_of_archive(data: memoryview) -> dict[str, Extent]:
    extent = _member(data)
    parts = _parts_of(_object_in(data, extent))
    return {what: Extent(extent.offset + e.offset, e.size) for what, e in parts.items()}


def _code_bytes(object: bytes) -> int:
    loaded = ("__LD", "__DWARF", "__LLVM")
    return sum(s.extent.size for s in MachO(object, OBJECT).sections if s.segment not in loaded)


def _instructions(object: bytes) -> bytes:
    extents = [s.extent for s in MachO(object, OBJECT).sections if s.code]
    return b"".join(object[e.offset : e.offset + e.size] for e in extents)


def _format(**own: object) -> Format:
    return Format(
        flags=(),
        compiler=_compiler,
        instead="apple",
        section=(f".section __TEXT,{_WEIGHTS}", ".private_extern armlet_constants"),
        code_bytes=_code_bytes,
        instructions=_instructions,
        # a library is signed, and changed no more; an archive holds objects and nothing else
        trailer=None,
        **own,  # type: ignore[arg-type]
    )


DYLIB = _format(
    magic=MAGIC,
    link=_link_dylib,
    problems=_problems_of_dylib,
    parts=lambda data: _parts_of(MachO(data)),
)
ARCHIVE = _format(
    magic=_ARCHIVE,
    link=_link_archive,
    problems=_problems_of_archive,
    parts=_parts_of_archive,
)
