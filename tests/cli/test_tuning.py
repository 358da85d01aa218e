"""``armlet tune`` and ``armlet tune log``."""

from __future__ import annotations

import dataclasses
import re

import pytest

import armlet
from armlet.compiler.records import Record, Records, append, read, user_file
from armlet.compiler.tune.measure import Meter
from armlet.rpc import registry
from armlet.schedules.cpu import TEMPLATES
from armlet.targets import target
from tests.compiler.tune.fake import FakeMeter, invented
from tests.rpc.local import Agent

HOST = target()
VERSIONS = {t.name: t.version for t in TEMPLATES}


@pytest.fixture(autouse=True)
def _own_records(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMLET_RECORDS", str(tmp_path / "records"))
    monkeypatch.setattr("armlet.cli.tune.BETWEEN", 1e9)


@pytest.fixture
def invents(monkeypatch):
    """No kernel is built: every config has a time, and the default the worst."""
    fake = FakeMeter(lambda point: 3e-3 if point.default else invented(point))
    monkeypatch.setattr(Meter, "start", lambda self, *points, **race: fake.start(*points))


def test_a_tuned_model_uses_what_was_found(document, small_cnn, tmp_path, invents):
    found = document("tune", small_cnn, "--trials", 30)
    assert found["tuned_seconds"] < found["default_seconds"]
    assert found["trials"] == sum(t["trials"] for t in found["tasks"]) == 30
    assert {t["layer"] for t in found["tasks"]} >= {"stem", "depthwise"}
    path = tmp_path / "m.so"
    document("compile", small_cnn, "-o", path)
    layers = {e["layer"]: e for e in document("inspect", path)["layers"]}
    assert layers["stem"]["recorded"]
    stem = next(t for t in found["tasks"] if t["layer"] == "stem")
    assert layers["stem"]["config"] == stem["config"]
    untuned = armlet.compile(small_cnn, records=Records())
    assert not any(k["recorded"] for k in untuned.manifest["kernels"])


def test_real_kernels_are_measured(shell, small_cnn, tmp_path):
    path, page = tmp_path / "own.jsonl", tmp_path / "tune.html"
    text = shell("tune", small_cnn, "--trials", 7, "--records", path, "--html", page)
    assert "7 trials: tuned operators take" in text and "stem" in text
    assert not user_file(HOST).exists()
    records = list(read(path))
    assert not [r for r in records if r.failure]
    assert sum(r.default is None for r in records) == 7
    html = page.read_text()
    for word in ("Best over trials", "Gain by task", "depthwise", "plotly"):
        assert word in html
    head, _, body = html.rpartition("</head>")
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", head[:300] + body)


def test_a_model_is_tuned_on_a_device(shell, document, small_cnn, tmp_path):
    with Agent(tmp_path / "phone") as agent:
        registry.add(agent.entry)
        found = document("tune", small_cnn, "--device", "phone", "--trials", 9)
        assert found["trials"] == 9 and not found["failures"]
        assert found["tuned_seconds"] <= found["default_seconds"]
        with armlet.device("phone") as phone:
            own = user_file(phone.target)
    records = list(read(own))
    assert {r.device for r in records} == {"phone"}
    assert sum(r.default is None for r in records) == 9
    shell("tune", small_cnn, "--device", "phon", status=2)


def test_the_page_draws_in_a_browser(shell, small_cnn, tmp_path, rendered):
    page = tmp_path / "tune.html"
    records = tmp_path / "own.jsonl"
    shell("tune", small_cnn, "--trials", 3, "--records", records, "--html", page)
    drawn = rendered(page)
    assert drawn.count('class="main-svg"') >= 2
    assert "Gain by task" in drawn


def test_what_cannot_be_measured_here_is_refused(shell, small_cnn, capsys):
    shell("tune", small_cnn, "--target", "linux-arm64", status=2)


def test_without_xgboost_a_sentence_says_what_to_install(shell, small_cnn, monkeypatch):
    monkeypatch.setattr("armlet.compiler.tune.ranker.importlib.util.find_spec", lambda name: None)
    shell("tune", small_cnn, status=2)


# -- tune log -------------------------------------------------------------------------------------


def record(seconds, default=None, **fields) -> Record:
    given = {
        "target": HOST.fingerprint, "workload": "matmul(f32[2,3], f32[3,4]) : f32[2,4]",
        "template": "matmul", "version": VERSIONS["matmul"], "config": {"rows": 1},
        "date": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    return Record(**{**given, **fields}, seconds=seconds, default=default)


def test_log_show_tells_of_each_workload(shell, document):
    append(user_file(HOST), record(1e-3, 2e-3))
    append(user_file(HOST), record(None, config={"rows": 2}, failure="crash: signal 11"))
    text = shell("tune", "log", "show")
    assert "1000.0" in text and "2000.0" in text and "rows=1" in text
    (found,) = document("tune", "log", "show", user_file(HOST))
    assert found["failures"] == 1 and found["trials"] == 2 and found["seconds"] == 1e-3


def test_log_merge_keeps_the_latest_of_each(shell, tmp_path):
    a, b, out = (tmp_path / name for name in ("a", "b", "out"))
    append(a, record(1e-3, 2e-3))
    append(b, record(3e-3, 2e-3))
    append(b, record(1e-3, config={"rows": 2}))
    assert "2 records of 2 files" in shell("tune", "log", "merge", out, a, b)
    assert {r.seconds for r in read(out)} == {3e-3, 1e-3}


def test_log_prune_drops_what_is_damaged_or_outdated(shell, tmp_path):
    path = tmp_path / "r"
    append(path, record(1e-3, 2e-3))
    append(path, record(2e-3, config={"rows": 3}))
    append(path, dataclasses.replace(record(1e-3), version=0))
    with path.open("ab") as file:
        file.write(b"{damaged\n")
    assert "2 of 4 lines kept" in shell("tune", "log", "prune", path)
    assert "1 of 2 lines kept" in shell("tune", "log", "prune", path, "--best")
    assert [r.config for r in read(path)] == [{"rows": 1}]


def test_log_diff_compares_best_times(document, tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    append(a, record(1e-3, 2e-3))
    append(b, record(0.5e-3, 2e-3))
    append(b, record(1e-3, 2e-3, workload="other"))
    first, second = document("tune", "log", "diff", a, b)
    assert first["ratio"] == 0.5 and second["a"] is None


def test_a_file_that_is_not_there_is_told(shell, tmp_path):
    shell("tune", "log", "show", tmp_path / "none", status=2)
