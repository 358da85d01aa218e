"""Which cores a model runs on, by what Linux writes of their capacities."""

from __future__ import annotations

import subprocess

import pytest

from armlet.compiler.link import runtime

from .test_c_interface import CC, DRIVERS, WARNINGS, compile_c

pytestmark = pytest.mark.skipif(CC is None, reason="no C compiler on this machine")


@pytest.mark.parametrize(
    "capacities, kept",
    [
        # Snapdragon 855: little, middle, prime
        ([261, 261, 261, 261, 871, 871, 871, 1024], "4: 4 5 6 7"),
        # RK3399: two big ones come last
        ([485, 485, 485, 485, 1024, 1024], "2: 4 5"),
        ([1024, 1024, 1024, 1024], "4: 0 1 2 3"),
        # nothing is told, or not of all
        ([None, None], "2: 0 1"),
        ([1024, None, 300], "3: 0 1 2"),
        # half as fast is still worth an equal part
        ([512, 1024], "2: 0 1"),
    ],
    ids=str,
)
def test_little_cores_are_left_out(tmp_path, capacities, kept):
    for cpu, capacity in enumerate(capacities):
        (tmp_path / f"cpu{cpu}").mkdir()
        if capacity is not None:
            (tmp_path / f"cpu{cpu}" / "cpu_capacity").write_text(f"{capacity}\n")
    program, sources = tmp_path / "system", runtime.SOURCES
    folder = f'-DCORES_FOLDER="{tmp_path}"'
    compile_c([*WARNINGS, folder, f"-I{sources}", DRIVERS / "system.c", "-o", program])
    done = subprocess.run([program, str(len(capacities))], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, kept)
