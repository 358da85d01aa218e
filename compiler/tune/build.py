"""From candidates to a library that can time them.

``build`` is a plain function of picklable values, so any executor may run it anywhere; what
it returns travels back as object code. ``link`` puts a batch of kernels into one library, with
a function that calls one of them many times and reads the clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from armlet.compiler.ir.group import Group
from armlet.compiler.link import toolchain
from armlet.compiler.link.runtime import runtime
from armlet.compiler.lower.kernel import Kernel
from armlet.compiler.records import Record
from armlet.targets import Target

_HEAD = """
typedef __INT32_TYPE__ int32_t;
typedef __INT64_TYPE__ int64_t;
typedef void kernel_code(void *const *p, int32_t begin, int32_t end, void *scratch);
struct instant { long seconds, nanoseconds; };
int clock_gettime(int, struct instant *);

/* Nanoseconds of `calls` calls, which take the sets of pointers in turns. */
int64_t armlet_time(kernel_code *code, void *const *const *sets, int32_t count, int32_t extent,
                    void *scratch, int64_t calls) {
    struct instant a, b;
    clock_gettime(1, &a);
    for (int64_t i = 0, set = 0; i < calls; i++) {
        code(sets[set], 0, extent, scratch);
        set = set + 1 == count ? 0 : set + 1;
    }
    clock_gettime(1, &b);
    return (b.seconds - a.seconds) * 1000000000L + b.nanoseconds - a.nanoseconds;
}
"""


def build(group: Group, target: Target, record: Record) -> Kernel:
    """The kernel of the group as the record says; whatever goes wrong is raised."""
    from armlet.compiler.lower.build import kernel_of, recorded_choice

    choice = recorded_choice(group, target, record)
    if choice is None:
        raise ValueError(f"template {record.template} does not do {record.workload}")
    key = hashlib.sha256(f"{group.text}{record.identity}".encode()).hexdigest()
    return kernel_of(group, target, key, choice, recorded=True)


def link(kernels: Sequence[tuple[Kernel, int]], target: Target, folder: Path) -> Path:
    """A library of (kernel, number of its pointers): ``call_<i>`` calls the one at ``i``."""
    lines, objects = [_HEAD], []
    for i, (kernel, count) in enumerate(kernels):
        types, values = "void *, " * count, "".join(f"p[{n}], " for n in range(count))
        lines += [
            f"void {kernel.symbol}({types}int32_t, int32_t, void *);",
            f"void call_{i}(void *const *p, int32_t begin, int32_t end, void *scratch) {{",
            f"    {kernel.symbol}({values}begin, end, scratch);",
            "}",
        ]
        objects.append(f"kernel-{i}.o")
        (folder / objects[-1]).write_bytes(kernel.object)
    (folder / "bench.c").write_text("\n".join(lines))
    triple = toolchain.llvm_triple(target.zig_triple)
    compile_bench = [
        "clang", f"--target={triple}", "-O1", "-fPIC", "-ffreestanding", "-nostdinc",
        "-c", "bench.c", "-o", "bench.o",
    ]  # fmt: skip
    toolchain.run("compiling the timer", compile_bench, folder)
    shared = [
        "ld.lld",
        "-shared",
        "-Bsymbolic",
        "--as-needed",
        "-o",
        "bench.so",
        "bench.o",
        *objects,
    ]
    # what a kernel calls of libm, a program of libc alone has not loaded
    made = runtime(target.zig_triple)
    toolchain.run("linking candidates", [*shared, *made.stubs, *made.helpers], folder)
    return folder / "bench.so"
