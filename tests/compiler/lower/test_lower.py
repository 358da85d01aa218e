"""Kernels are shared, cached, made in processes; failures name the group."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from armlet.compiler.ir import Builder, TensorType
from armlet.compiler.ir.group import Group
from armlet.compiler.lower import build, cache
from armlet.compiler.lower.compile import FEW, lower
from armlet.compiler.ops import OPERATORS
from armlet.errors import InternalError
from armlet.schedules.cpu import injective
from armlet.settings import CACHE
from armlet.targets import NAMED, target


def scaled(size: int, factor: float = 2.0, weights: int | None = None) -> Group:
    """x * factor, or x * a constant vector."""
    builder = Builder(source="layer")
    x = builder.param("x", TensorType((size,)))
    data = np.float32(factor) if weights is None else np.full(size, weights, np.float32)
    builder.call(OPERATORS["mul"](), x, builder.const(np.asarray(data), "c"))
    return Group.of(builder.bindings)


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMLET_CACHE", str(tmp_path / "cache"))


def test_equal_workloads_share_a_kernel():
    kernels = lower([scaled(40), scaled(40), scaled(41)], target())
    assert kernels[0] is kernels[1]
    assert kernels[0].symbol != kernels[2].symbol


def test_constants_of_one_element_are_code_and_others_are_not():
    groups = [scaled(9, 2.0), scaled(9, 3.0), scaled(9, weights=2), scaled(9, weights=3)]
    keys = [g.key("t") for g in groups]
    assert len(set(keys)) == 3
    assert keys[2] == keys[3]
    assert [len(g.inputs) for g in groups] == [1, 1, 2, 2]


def test_order_and_number_of_kernels_follow_the_groups():
    groups = [scaled(n) for n in (5, 6, 7, 8, 5)]
    seen = []
    kernels = lower(groups, target(), lambda done, total, what: seen.append((done, total)))
    assert [k.key for k in kernels] == [cache.key_of(g, target()) for g in groups]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_processes_and_this_process_make_the_same_code():
    groups = [scaled(n) for n in range(50, 50 + FEW)]
    parallel = lower(groups, target(), jobs=2)
    made = [*CACHE.value.rglob("*.kernel")]
    assert len(made) >= FEW
    for path in made:
        path.unlink()
    assert lower(groups, target(), jobs=1) == parallel


def test_second_time_comes_from_the_cache(monkeypatch):
    first = lower([scaled(30)], target())
    monkeypatch.setattr("armlet.compiler.lower.build.build", None)
    assert lower([scaled(30)], target()) == first


def test_a_damaged_entry_is_made_again():
    first = lower([scaled(30)], target())
    (path,) = CACHE.value.rglob("*.kernel")
    path.write_bytes(path.read_bytes()[:100])
    assert lower([scaled(30)], target()) == first


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ARMLET_CACHE", str(tmp_path / "file"))
    assert lower([scaled(30)], target())


def test_keys_depend_on_the_target_and_the_compiler(monkeypatch):
    keys = {cache.key_of(scaled(5), t) for t in NAMED.values()}
    assert len(keys) == len(NAMED)
    monkeypatch.setattr(cache, "compiler_hash", lambda: "another")
    assert cache.key_of(scaled(5), target()) not in keys


def test_what_is_cached_needs_no_tvm():
    lower([scaled(30)], target())
    code = """
import sys
import numpy as np
from armlet.compiler.ir import Builder, TensorType
from armlet.compiler.ir.group import Group
from armlet.compiler.lower.compile import lower
from armlet.compiler.ops import OPERATORS
from armlet.targets import target
builder = Builder(source="layer")
x = builder.param("x", TensorType((30,)))
builder.call(OPERATORS["mul"](), x, builder.const(np.float32(2), "c"))
lower([Group.of(builder.bindings)], target())
sys.exit("tvm" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_failure_names_the_group_and_the_template(monkeypatch):
    def fail(*_: object) -> None:
        raise ValueError("no such loop")

    monkeypatch.setattr(injective.Injective, "build", fail)
    with pytest.raises(InternalError) as error:
        lower([scaled(30)], target())
    for part in ("layer", "mul", "injective", "no such loop"):
        assert part in str(error.value)


def test_death_of_a_process_is_told():
    broken = dataclasses.replace(target(), triple="nocpu-none-none")
    with pytest.raises(InternalError):
        lower([scaled(n) for n in range(5, 5 + FEW)], broken, jobs=2)


@pytest.mark.parametrize(("size", "extent", "ways"), [(1, 8, 1), (3000, 8, 3), (1 << 24, 8, 8)])
def test_threads_follow_from_work_and_extent(size, extent, ways):
    core = dataclasses.replace(target("linux-x86_64"), fma_units=1, sharing_cycles=3000)
    assert build.ways(scaled(size), core, extent) == ways
