"""The runtime under the sanitizers, and what C callers rely on.

Runtime, tables and kernels of the tiny model are compiled by the system's C compiler into
one program with a driver from ``c/``, so that everything is instrumented.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from armlet.compiler.link import elf_format, runtime, tables

from . import tiny

DRIVERS = Path(__file__).parent / "c"
EXAMPLES = Path(__file__).parents[2] / "examples"
CC = shutil.which("gcc") or shutil.which("cc")
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]

pytestmark = pytest.mark.skipif(CC is None, reason="no C compiler on this machine")


def compile_c(arguments: list[object]) -> None:
    done = subprocess.run([str(CC), *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def instrumented(driver: str, sanitizers: str, folder: Path, instead: str = "") -> Path:
    """``instead``: the folder of another system's part of the runtime."""
    flag = f"-fsanitize={sanitizers}"
    (folder / "probe.c").write_text("int main(void) { return 0; }")
    probe = [str(CC), flag, "probe.c", "-o", "probe"]
    if subprocess.run(probe, cwd=folder, capture_output=True).returncode:
        pytest.skip(f"the C compiler lacks {flag}")
    plan, constants = tiny.plan(), folder / "constants.bin"
    with constants.open("wb") as file:
        tables.write_constants(plan, file)
    section = elf_format.FORMAT.section
    text = tables.source(plan, ["sse2"], {}, tiny.selftest(), constants, section)
    (folder / "tables.c").write_text(text)
    (folder / "kernels.c").write_text("\n".join(tiny.SOURCES.values()))
    program = folder / driver
    sources = [DRIVERS / f"{driver}.c", *runtime.sources(instead)]
    headers = [runtime.SOURCES, runtime.HEADER.parent, DRIVERS / instead]
    includes = [f"-I{path}" for path in headers]
    options = ["-g", "-O1", "-pthread", flag, "-fno-sanitize-recover=all", "-o", program]
    compile_c([*options, *includes, *sources, folder / "tables.c", folder / "kernels.c", "-lm"])
    return program


def run(program: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [program], capture_output=True, text=True, timeout=300, env={**os.environ, **environment}
    )
    return done


def test_lifecycle_and_misuse_are_clean_under_address_and_ub_sanitizers(tmp_path):
    done = run(instrumented("lifecycle", "address,undefined", tmp_path))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("system", ["", "apple"])
def test_eight_threads_with_eight_instances_are_clean_under_thread_sanitizer(tmp_path, system):
    program = instrumented("threads", "thread", tmp_path, system)
    # older ThreadSanitizers cannot map their shadow under strong address randomisation
    prefix = ["setarch", "-R"] if shutil.which("setarch") else []
    done = subprocess.run([*prefix, program], capture_output=True, text=True, timeout=300)
    if "unexpected memory mapping" in done.stderr:
        pytest.skip("ThreadSanitizer does not work with this kernel's memory layout")
    assert done.returncode == 0, done.stderr


def test_a_run_makes_no_heap_allocation(tmp_path):
    artifact, program = tiny.artifact(tmp_path / "m.so"), tmp_path / "no_allocation"
    include = f"-I{runtime.HEADER.parent}"
    compile_c(["-fno-builtin", include, DRIVERS / "no_allocation.c", artifact, "-o", program])
    done = run(program)
    assert done.returncode == 0, done.stderr


def test_example_prints_the_five_best(tmp_path):
    artifact, example = tiny.artifact(tmp_path / "m.so"), EXAMPLES / "c" / "top5.c"
    include = f"-I{runtime.HEADER.parent}"
    compile_c(["-Wall", "-Wextra", "-Werror", include, example, artifact, "-o", tmp_path / "top5"])
    x = np.random.default_rng(2).standard_normal((8, 64), dtype=np.float32)
    x.tofile(tmp_path / "x.f32")
    done = subprocess.run(
        [tmp_path / "top5", tmp_path / "x.f32"], capture_output=True, text=True, check=True
    )
    best = np.argsort(-tiny.evaluate(x)["y"])[:5]
    assert [line.split()[1] for line in done.stdout.splitlines()] == [f"y[{i}]" for i in best]
    assert run(tmp_path / "top5").returncode == 0
    done = subprocess.run([tmp_path / "top5", "absent"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "absent: does not hold the model's first input\n")


def test_runtime_sources_compile_without_warnings(tmp_path):
    for source in sorted(runtime.SOURCES.glob("*.c")):
        include = f"-I{runtime.HEADER.parent}"
        compile_c([*WARNINGS, "-O2", include, "-c", source, "-o", tmp_path / "o.o"])


@pytest.mark.parametrize("language", ["c", "c++"])
def test_header_stands_alone_in_c_and_cpp(tmp_path, language):
    if language == "c++" and not shutil.which("g++"):
        pytest.skip("no C++ compiler on this machine")
    (tmp_path / "use.c").write_text("#include <armlet.h>\nint f(void) { return ARMLET_OK; }\n")
    compiler = "g++" if language == "c++" else str(CC)
    done = subprocess.run(
        [
            compiler, "-x", language, "-Wall", "-Wextra", "-Werror", "-pedantic",
            f"-I{runtime.HEADER.parent}", "-c", "use.c",
        ],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
