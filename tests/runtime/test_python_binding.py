"""Artifacts through ``armlet.artifact``: values, errors, threads, lifetimes."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from armlet import artifact, binding
from armlet.compiler.link import runtime
from armlet.errors import ArtifactError, CpuError, ExecutionError, InputError, OutputError

from . import tiny

pytestmark = pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"),
    reason="the test kernels are compiled for Linux on x86-64",
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny.artifact(tmp_path_factory.mktemp("tiny") / "m.so")


@pytest.fixture
def model(path):
    with artifact.open(path, threads=2) as model:
        yield model


@pytest.fixture
def x():
    return np.random.default_rng(1).standard_normal((8, 64), dtype=np.float32)


def assert_right(results, x):
    for name, right in tiny.evaluate(x).items():
        np.testing.assert_allclose(results[name], right, rtol=1e-5)


# ---- values


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_outputs_are_right_with_any_number_of_threads(path, x, threads):
    with artifact.open(path, threads=threads) as model:
        assert model.threads == threads
        assert_right(model.run({"x": x}), x)


def test_threads_are_no_more_than_the_model_can_keep_busy(path):
    with artifact.open(path, threads=64) as model:
        assert model.threads == tiny.ROWS


def test_small_work_stays_in_the_callers_thread(tmp_path, x):
    with artifact.open(tiny.artifact(tmp_path / "m.so", plan=tiny.plan(ways=1))) as model:
        assert model.threads == 1
        assert_right(model.run({"x": x}), x)


def test_results_of_one_run_survive_the_next(model, x):
    first = model.run({"x": x})
    model.run({"x": 2 * x})
    assert_right(first, x)


def test_strided_and_unaligned_inputs_are_copied(model, x):
    assert_right(model.run({"x": np.asfortranarray(x)}), x)
    raw = np.zeros(x.nbytes + 1, np.uint8)
    raw[1:] = x.view(np.uint8).reshape(-1)
    assert_right(model.run({"x": raw[1:].view(np.float32).reshape(x.shape)}), x)


def test_lists_are_inputs_too(model, x):
    assert_right(model.run({"x": x.tolist()}), x)


def test_outputs_can_be_written_into_given_arrays(model, x):
    z = np.empty((8, 64), np.float32)
    assert model.run({"x": x}, {"z": z})["z"] is z
    np.testing.assert_allclose(z, tiny.evaluate(x)["z"], rtol=1e-5)


def test_interface_and_manifest_are_readable(model):
    assert [str(t) for t in model.inputs] == ["x: float32[8, 64]"]
    assert [t.shape for t in model.outputs] == [(8,), (8, 64)]
    assert model.manifest == {"model": "tiny ☃"}


# ---- looking inside


def test_observer_sees_every_value(model, x):
    seen = {}
    with model.observe(lambda name, data: seen.__setitem__(name, data.copy())):
        results = model.run({"x": x})
    assert list(seen) == ["a", "b", "y", "z"]
    np.testing.assert_array_equal(seen["a"], x * tiny.weights())
    np.testing.assert_array_equal(seen["z"], results["z"])
    seen.clear()
    model.run({"x": x})
    assert not seen


def test_error_in_an_observer_ends_the_run_and_is_raised(model, x):
    def fail(name, data):
        raise KeyError(name)

    with model.observe(fail), pytest.raises(KeyError, match="a"):
        model.run({"x": x})
    assert_right(model.run({"x": x}), x)


def test_profile_names_layers_and_templates(model):
    layers = model.profile(runs=3)
    assert [layer.value for layer in layers] == ["a", "b", "y", "z"]
    assert layers[1].source == 'net/"square"\n?'
    assert layers[2].source == "net/größe"
    assert [layer.template for layer in layers] == ["scale", "square", "sum", "increment"]
    assert [layer.threads for layer in layers] == [2, 2, 1, 2]
    assert all(layer.calls == 3 and layer.seconds > 0 for layer in layers)


def test_benchmark_counts_its_runs(model):
    found = model.benchmark(runs=7, warmup=0)
    assert len(found.seconds) == 7
    assert 0 < found.seconds.min() <= found.median <= found.percentile(99)


def test_selftest_passes_and_tells_how_close(model, x):
    before = model.run({"x": x})
    report = model.selftest()
    # y whole, and every odd stride of z: 8 + 512
    assert report.passed
    assert report.compared == 520
    assert_right(before, x)


def test_selftest_finds_wrong_answers(tmp_path):
    path = tiny.artifact(tmp_path / "m.so", selftest=tiny.selftest(shift=1.0))
    with artifact.open(path) as model:
        report = model.selftest()
    assert not report.passed
    assert (report.output, report.wrong) == ("y", 8)
    assert report.expected - report.actual == pytest.approx(1, rel=1e-3)


def test_selftest_that_is_not_there_is_an_error(tmp_path):
    with (
        artifact.open(tiny.artifact(tmp_path / "m.so", selftest=None)) as model,
        pytest.raises(ArtifactError, match="built without a self-test"),
    ):
        model.selftest()


# ---- wrong use


def test_wrong_inputs_are_named_with_what_is_expected(model, x):
    with pytest.raises(InputError, match=r"input x: float32\[8, 64\] is missing"):
        model.run({})
    with pytest.raises(InputError, match=r"no input 'xx'(.|\n)*did you mean 'x'"):
        model.run({"x": x, "xx": x})
    with pytest.raises(InputError, match="is float64, and float32 is expected"):
        model.run({"x": x.astype(np.float64)})
    with pytest.raises(InputError, match=r"has shape \[8, 63\], and \[8, 64\] is expected"):
        model.run({"x": x[:, :63]})
    with pytest.raises(InputError, match="is no array"):
        model.run({"x": "text"})
    with pytest.raises(InputError, match="no output 'q'"):
        model.run({"x": x}, {"q": x})
    with pytest.raises(InputError, match="in place"):
        model.run({"x": x}, {"z": np.asfortranarray(x)})


def test_model_is_not_usable_after_close(path, x):
    model = artifact.open(path)
    model.close()
    model.close()
    assert "closed" in repr(model)
    with pytest.raises(ExecutionError, match="closed"):
        model.run({"x": x})


def test_missing_cpu_features_are_named(tmp_path):
    target = tiny.TinyTarget(features=("sse2", "avx10", "made_up"))
    path = tiny.artifact(tmp_path / "m.so", target=target)
    with pytest.raises(CpuError, match="avx10, made_up"):
        artifact.open(path)


def test_features_of_this_cpu_are_found(tmp_path):
    """Every feature that the kernel reports and the runtime knows is found present."""
    flags = re.search(r"^flags\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    known = re.findall(r'\{"(\w+)", ', (runtime.SOURCES / "cpu_x86.c").read_text())
    present = tuple(sorted(set(known) & set(flags[1].split())))
    assert "sse2" in present
    target = tiny.TinyTarget(features=present)
    artifact.open(tiny.artifact(tmp_path / "m.so", target=target)).close()


@pytest.mark.parametrize("threads", [-1, 100000])
def test_impossible_thread_counts_are_refused(path, threads):
    with pytest.raises(Exception, match="threads is"):
        artifact.open(path, threads=threads)


# ---- files that are no artifacts


def assert_refused(path, match):
    with pytest.raises(ArtifactError, match=match):
        artifact.open(path)


def test_files_that_are_no_artifacts_are_refused(tmp_path, path):
    assert_refused(tmp_path / "absent.so", "cannot be read: No such file")
    assert_refused(tmp_path, "cannot be read: Is a directory")
    (tmp_path / "empty.so").touch()
    assert_refused(tmp_path / "empty.so", "it is empty")
    (tmp_path / "text.so").write_text("no library")
    assert_refused(tmp_path / "text.so", "no binary file of a known kind")
    assert_refused(_ctypes_library(), "not made by armlet")
    assert_refused(sys.executable, "not an artifact")
    foreign = bytearray(path.read_bytes())
    foreign[18] = 40  # e_machine: 32-bit ARM
    (tmp_path / "foreign.so").write_bytes(foreign)
    assert_refused(tmp_path / "foreign.so", "another machine")


def _ctypes_library():
    import _ctypes

    return _ctypes.__file__


def test_truncated_artifacts_are_refused(tmp_path, path):
    whole = path.read_bytes()
    for size in range(1, len(whole), len(whole) // 37):
        (tmp_path / "cut.so").write_bytes(whole[:size])
        assert_refused(tmp_path / "cut.so", "not an artifact")


def test_damaged_artifacts_are_refused(tmp_path, path):
    whole = path.read_bytes()
    choose = np.random.default_rng(3)
    for position in choose.integers(0, len(whole), 100):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << choose.integers(8)
        (tmp_path / "damaged.so").write_bytes(damaged)
        try:
            artifact.open(tmp_path / "damaged.so").close()
        except ArtifactError:
            continue
        assert _in_weights(whole, position)


def _in_weights(data, position):
    from armlet.compiler.link.elf import Elf
    from armlet.compiler.link.format import CONSTANT_SECTION

    weights = Elf(data).section(CONSTANT_SECTION)
    return weights.offset <= position < weights.offset + weights.size


# ---- files and lifetimes


def test_a_file_that_is_replaced_while_open_is_loaded_anew(tmp_path, x):
    path = tiny.artifact(tmp_path / "m.so")
    with artifact.open(path) as old:
        tiny.artifact(path, manifest={"model": "newer"})
        with artifact.open(path) as new, artifact.open(path) as again:
            assert old.manifest == {"model": "tiny ☃"}
            assert new.manifest == again.manifest == {"model": "newer"}
            assert_right(old.run({"x": x}), x)
    with artifact.open(path) as model:
        assert model.manifest == {"model": "newer"}


def test_saved_copies_work_alone(model, tmp_path, x):
    model.save(tmp_path / "copy.so")
    with artifact.open(tmp_path / "copy.so") as copy:
        assert_right(copy.run({"x": x}), x)
    with pytest.raises(OutputError, match="cannot be written"):
        model.save(tmp_path / "absent" / "copy.so")


def test_closing_stops_the_threads(path):
    gc.collect()
    before = len(os.listdir("/proc/self/task"))
    with artifact.open(path, threads=4):
        assert len(os.listdir("/proc/self/task")) == before + 3
    assert len(os.listdir("/proc/self/task")) == before


def test_two_python_threads_share_a_model_safely(model, x):
    wrong = []

    def use(scale):
        for _ in range(100):
            results = model.run({"x": scale * x})
            if not np.allclose(results["z"], tiny.evaluate(scale * x)["z"], rtol=1e-4):
                wrong.append(scale)

    threads = [threading.Thread(target=use, args=(np.float32(s),)) for s in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_cancel_from_another_thread_ends_a_long_run(tmp_path):
    path = tiny.artifact(tmp_path / "slow.so", plan=tiny.slow_plan(), selftest=None)
    with artifact.open(path) as model:
        timer = threading.Timer(0.05, model.cancel)
        timer.start()
        with pytest.raises(ExecutionError, match="cancelled"):
            model.run({"x": np.zeros((8, 64), np.float32)})
        timer.join()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_workers_are_pinned_to_the_cpus_given(path):
    cpu = max(os.sched_getaffinity(0))
    others = set(os.listdir("/proc/self/task"))
    with artifact.open(path, threads=3, cpus=[0, cpu, cpu]):
        workers = set(os.listdir("/proc/self/task")) - others
        assert [os.sched_getaffinity(int(w)) for w in workers] == [{cpu}, {cpu}]
    with artifact.open(path, cpus=[cpu, cpu]) as model:
        assert model.threads == 2
    with pytest.raises(ExecutionError, match="pinned"):
        artifact.open(path, threads=2, cpus=[0, 1023])


# ---- the binding is what the header says


def test_binding_and_header_agree(tmp_path):
    header = runtime.HEADER.read_text()
    assert tuple(sorted(binding.FUNCTIONS)) == runtime.exports()
    assert int(re.search(r"ARMLET_ABI_VERSION (\d+)", header)[1]) == binding.ABI_VERSION
    codes = re.findall(r"ARMLET_((?:U?INT|FLOAT)\d+|BOOL) = (\d+)", header)
    assert {int(code): name.lower() for name, code in codes} == dict(
        enumerate(binding.DTYPES[1:], 1)
    )


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler on this machine")
def test_structs_have_the_headers_layout(tmp_path):
    structs = {
        "armlet_tensor_info": binding.TensorInfo,
        "armlet_options": binding.Options,
        "armlet_profile_entry": binding.ProfileEntry,
        "armlet_value": binding.Value,
        "armlet_selftest_report": binding.SelfTestReport,
    }
    lines = ["#include <armlet.h>", "#include <stdio.h>", "int main(void) {"]
    expected = []
    for name, struct in structs.items():
        lines.append(f'printf("%zu\\n", sizeof({name}));')
        expected.append(ctypes.sizeof(struct))
        for field, _ in struct._fields_:
            lines.append(f'printf("%zu\\n", offsetof({name}, {field}));')
            expected.append(getattr(struct, field).offset)
    (tmp_path / "layout.c").write_text("\n".join([*lines, "}"]))
    include = f"-I{runtime.HEADER.parent}"
    subprocess.run(["gcc", include, "layout.c", "-o", "layout"], cwd=tmp_path, check=True)
    text = subprocess.run([tmp_path / "layout"], capture_output=True, text=True, check=True).stdout
    assert list(map(int, text.split())) == expected


def test_opening_takes_little_and_imports_no_compiler(path):
    code = f"""
import sys, time, armlet.artifact as a
a.open({str(path)!r}).close()
start = time.perf_counter(); m = a.open({str(path)!r}); took = time.perf_counter() - start
m.close()
assert not {{"tvm", "onnx"}} & set(sys.modules)
print(took)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.1  # 10 ms are promised; this machine may be busy
