"""The C text of the tables, and the self-test's formula."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from armlet import artifact
from armlet.compiler.ir import TensorType
from armlet.compiler.ir.types import SHORT_NAMES
from armlet.compiler.link import elf_format, runtime, selftest, tables, toolchain
from armlet.compiler.lower.kernel import Kernel
from armlet.compiler.plan.plan import Location, Plan, Space, Task, Tensor

from ..runtime import tiny

SECTION = elf_format.FORMAT.section


def test_any_text_survives_as_a_name(tmp_path):
    names = ['a"b\\c', "é☃/\t\n", "trailing\\", "??/", "%s{0}", "1" * 200]
    plan = tiny.plan()
    tasks = tuple(dataclasses.replace(plan.tasks[0], source=name) for name in names)
    path = tiny.artifact(
        tmp_path / "m.so", plan=dataclasses.replace(plan, tasks=tasks), selftest=None,
        manifest={name: name for name in names},
    )  # fmt: skip
    with artifact.open(path) as model:
        assert [layer.source for layer in model.profile(runs=1)] == names
        assert model.manifest == {name: name for name in names}


def test_constants_lie_at_their_offsets(tmp_path):
    plan = dataclasses.replace(
        tiny.plan(),
        constants=((0, np.arange(3, dtype=np.int8)), (64, np.float32(2.5).reshape(()))),
        constant_bytes=128,
    )
    with (tmp_path / "c").open("wb") as file:
        tables.write_constants(plan, file)
    data = (tmp_path / "c").read_bytes()
    assert len(data) == 128
    assert data[:4] == b"\0\1\2\0"
    assert np.frombuffer(data, np.float32, 1, 64)[0] == 2.5


def identity(dtype: str, count: int, width: int) -> Plan:
    """A model that copies its two inputs."""
    source = f"""
void armlet_k_copy(const char *x, char *y, int begin, int end, void *scratch) {{
    (void)begin, (void)end, (void)scratch;
    for (int i = 0; i < {count * width}; i++) y[i] = x[i];
}}"""
    kernel = Kernel("copy", "armlet_k_copy", tiny.compiled(source), 1, 0, "copy", 1)
    type = TensorType((count,), dtype)
    pairs = [(Location(Space.INPUT, index=i), Location(Space.OUTPUT, index=i)) for i in (0, 1)]
    return Plan(
        inputs=(Tensor("p", type), Tensor("q", type)),
        outputs=(Tensor("r", type), Tensor("s", type)),
        kernels=(kernel,),
        tasks=tuple(Task(0, pair, f"v{i}", type, "") for i, pair in enumerate(pairs)),
        arena_bytes=0, arena_lower_bound=0, constants=(), constant_bytes=0,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", SHORT_NAMES)
def test_self_test_inputs_are_the_same_in_c_and_python(tmp_path, dtype):
    plan = identity(dtype, 1500, np.dtype(dtype).itemsize)
    inputs = selftest.inputs(plan.inputs)
    assert not np.array_equal(inputs["p"], inputs["q"])
    expected = selftest.expect(list(inputs.values()), [0, 0])
    path = tiny.artifact(tmp_path / "m.so", plan=plan, selftest=expected)
    with artifact.open(path) as model:
        report = model.selftest()
        assert report.passed
        assert report.compared == 2 * len(expected.outputs[0].values) == 1000
        results = model.run(inputs)
        np.testing.assert_array_equal(results["r"], inputs["p"])
        np.testing.assert_array_equal(results["s"], inputs["q"])
        assert results["r"].dtype == np.dtype(dtype)


def test_self_test_inputs_are_spread_over_their_range():
    real = selftest.random_array("float32", (10000,))
    assert -1 <= real.min() < -0.99
    assert 0.99 < real.max() < 1
    assert abs(real.mean()) < 0.02
    assert set(selftest.random_array("int64", (100,))) == {0, 1}
    assert len(set(selftest.random_array("uint8", (10000,)))) == 256


def test_expectations_keep_few_samples_of_large_outputs():
    output = np.arange(100_000, dtype=np.float32)
    (kept,) = selftest.expect([output], [0.5]).outputs
    assert len(kept.values) <= selftest.SAMPLES
    assert kept.stride % 2 == 1
    assert kept.tolerance == 0.5
    assert kept.values == tuple(output[:: kept.stride].tolist())


def test_infinities_and_nan_are_expected_exactly(tmp_path):
    values = np.zeros(64, np.float32)
    values[:3] = np.inf, -np.inf, np.nan
    plan = identity("float32", 64, 4)
    path = tiny.artifact(
        tmp_path / "m.so", plan=plan, selftest=selftest.expect([values] * 2, [1, 1])
    )
    with artifact.open(path) as model:
        report = model.selftest()
    assert not report.passed
    assert report.wrong == 2 * 3


def test_tables_refuse_a_runtime_of_another_format(tmp_path):
    text = tables.source(tiny.plan(), [], {}, None, tmp_path / "c", SECTION)
    assert f"ARMLET_FORMAT == {tables.FORMAT}" in text


def test_a_model_without_tasks_links(tmp_path):
    plan = Plan((), (), (), (), 0, 0, (), 0)
    path = tiny.artifact(tmp_path / "m.so", plan=plan, selftest=None)
    with artifact.open(path) as model:
        assert model.run({}) == {}


def test_kernel_with_many_pointers_gets_them_in_order(tmp_path):
    count = 40
    parameters = ", ".join(f"const float *p{i}" for i in range(count))
    text = " + ".join(f"{i + 1} * p{i}[0]" for i in range(count))
    source = f"""
void armlet_k_many({parameters}, float *y, int begin, int end, void *scratch) {{
    (void)begin, (void)end, (void)scratch;
    y[0] = {text};
}}"""
    kernel = Kernel("many", "armlet_k_many", tiny.compiled(source), 1, 0, "many", 1)
    one = TensorType((1,))
    inputs = tuple(Tensor(f"x{i}", one) for i in range(count))
    arguments = tuple(Location(Space.INPUT, index=i) for i in range(count))
    task = Task(0, (*arguments, Location(Space.OUTPUT)), "y", one, "sum")
    plan = Plan(inputs, (Tensor("y", one),), (kernel,), (task,), 0, 0, (), 0)
    with artifact.open(tiny.artifact(tmp_path / "m.so", plan=plan, selftest=None)) as model:
        result = model.run({f"x{i}": [2.0**-i] for i in range(count)})["y"][0]
    assert result == pytest.approx(sum((i + 1) * 2.0**-i for i in range(count)))


def test_tables_compile_without_warnings(tmp_path):
    (tmp_path / "c").write_bytes(b"0" * 64)
    (tmp_path / "t.c").write_text(
        tables.source(tiny.plan(), ["sse2"], {"a": 1}, tiny.selftest(), tmp_path / "c", SECTION)
    )
    toolchain.run(
        "compiling",
        [
            "clang", "--target=x86_64-linux-gnu", "-std=gnu11", "-ffreestanding", "-nostdinc",
            "-Wall", "-Wextra", "-Wconversion", "-Werror", f"-I{runtime.SOURCES}",
            f"-I{runtime.HEADER.parent}", "-isystem", toolchain.headers(), "-c", "t.c",
        ],
        tmp_path,
    )  # fmt: skip
