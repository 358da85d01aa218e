"""The comparison: a row of a small model, what is refused, and the tables."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from armlet.errors import SettingError
from benchmarks import load, measure, report, store
from benchmarks.__main__ import document
from benchmarks.subject import subject


def row(model: str, armlet: float, **peers: float) -> report.Row:
    times = {
        who: {"ms": ms, "rounds_ms": [ms, 4 * ms, ms]}
        for who, ms in {"armlet": armlet, **peers}.items()
    }
    found = {"model": model, "macs": 10**9, "peak_gflops": 100.0}
    return {**found, "threads": {"1": times}, "disturbance": {"1": 0.5}}


def test_a_small_model_is_measured(small_cnn):
    made = subject(f"{small_cnn}@x=1x3x14x11")
    found = measure.row(made, [], [1], 0.01)
    assert found["macs"] == made.macs > 0
    assert found["code_bytes"] > 0 and found["compile_s"] > 0
    ours = found["threads"]["1"]["armlet"]
    assert ours["error"] < 1e-4 and 0 < ours["ms"] < 1000 and ours["rss_mib"] > 1
    assert 0 <= found["disturbance"]["1"] < 1000
    assert "| small |" in report.markdown(document({"small": found}))


def test_what_a_runtime_refuses_is_told(one_node):
    found = measure.row(subject(str(one_node("Multinomial", (2, 3)))), [], [1], 0.01)
    assert "refused" in found["threads"]["1"]["armlet"]
    assert "- armlet does not run Multinomial" in report.markdown(document({"Multinomial": found}))


def test_values_and_shapes_come_from_the_name(small_cnn, tmp_path):
    data = np.full((2, 3, 14, 11), 0.5, np.float32)
    np.save(tmp_path / "x.npy", data)
    made = subject(f"{small_cnn}@x={tmp_path / 'x.npy'}")
    np.testing.assert_array_equal(np.load(made.feeds)["x"], data)


@pytest.mark.parametrize("text", ["nothing.onnx", "{model}", "{model}@y=1x2"])
def test_a_wrong_name_is_told(text, small_cnn):
    with pytest.raises(SettingError):
        subject(text.format(model=small_cnn))


def test_ratios_are_to_the_fastest_peer():
    rows = [row("a", 2.0, ncnn=4.0, mnn=8.0), row("b", 4.0, ncnn=16.0, mnn=2.0)]
    assert [report.fastest(r, 1) for r in rows] == ["ncnn", "mnn"]
    assert [report.best_ratio(r, 1) for r in rows] == [0.5, 2.0]
    assert math.isclose(report.mean(rows, lambda r: report.best_ratio(r, 1)), 1.0)
    # 2e9 operations in 2 ms are ten times 100 GFLOP/s
    assert math.isclose(report.share_of_peak(rows[0], 1, 100.0), 10.0)


def test_a_refusal_is_a_line_and_not_a_figure():
    one = row("a", 2.0, ncnn=4.0)
    one["threads"]["1"]["mnn"] = {"refused": "it crashed"}
    text = report.markdown(document({"a": one}))
    assert "- MNN does not run a: it crashed" in text
    assert "- others used 50% of a CPU while a ran on 1 threads" in text
    assert "| a | 2.00 | **4.00** |  | 0.50 |" in text


def test_a_new_version_takes_the_place_of_the_old(tmp_path):
    old, other = tmp_path / f"net-armlet-{'0' * 20}", tmp_path / f"net-armlet-x-{'0' * 20}"
    new = tmp_path / f"net-armlet-{'1' * 20}"
    for folder in (old, other, new):
        store.fresh(folder)
    assert sorted(tmp_path.iterdir()) == [new, other]


def test_work_of_others_is_noticed():
    before = load.Sample.of([])
    command = [sys.executable, "-c", "import time; t = time.time()\nwhile time.time() < t + 0.5: 0"]
    subprocess.run(command, check=True)
    assert load.Sample.of([]).disturbance(before) > 0.2
