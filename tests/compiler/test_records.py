"""Tuning records: what serves, what is skipped, what a file survives."""

from __future__ import annotations

import dataclasses
import os
import resource
import subprocess
import sys

import pytest

from armlet.compiler import records as module
from armlet.compiler.lower.compile import lower
from armlet.compiler.records import (
    Record,
    Records,
    append,
    now,
    of_family,
    parse,
    read,
    shipped_file,
    user_file,
)
from armlet.errors import OutputError
from armlet.schedules.cpu.matmul import MatMul
from armlet.targets import NAMED, of_fingerprint, target
from tests.schedules.harness import Net

HOST = target()


def record(seconds: float | None = 1e-3, default: float | None = 2e-3, **fields) -> Record:
    given = {
        "target": HOST.fingerprint, "workload": "w", "template": "t", "version": 1,
        "config": {"a": 1}, "spread": 1e-5, "date": now(),
    }  # fmt: skip
    return Record(**{**given, **fields}, seconds=seconds, default=default)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMLET_RECORDS", str(tmp_path / "records"))


def test_a_line_is_read_back():
    for each in (record(), record(None, None, failure="crash"), record(workload="é\n")):
        line = each.line()
        assert line.count(b"\n") == 1
        assert parse(line) == each


def test_the_fastest_that_beat_its_default_serves():
    known = Records([
        record(3e-3, None, config={"a": 1}),  # a trial
        record(5e-3, 6e-3, config={"a": 2}),
        record(4e-3, 6e-3, config={"a": 3}),
        record(1e-3, 1e-3, config={"a": 4}),  # no faster than its default
        record(None, None, config={"a": 5}, failure="timeout"),
    ])  # fmt: skip
    best = known.best("w", HOST)
    assert best is not None and best.config == {"a": 3}
    assert known.seconds("w", HOST) == 4e-3
    assert known.best("other", HOST) is None and known.seconds("other", HOST) is None


def test_a_later_verdict_replaces_an_earlier_one_and_a_trial_does_not():
    known = Records([record(1e-3, 2e-3), record(0.5e-3, None)])
    assert known.seconds("w", HOST) == 1e-3
    known.add(record(2e-3, 2e-3))
    assert known.best("w", HOST) is None
    assert known.seconds("w", HOST) == 2e-3


def test_an_older_version_of_a_template_does_not_serve():
    known = Records([record(1e-3), record(1.5e-3, version=2, config={"b": 1})])
    best = known.best("w", HOST)
    assert best is not None and best.version == 2


def test_no_target_serves_another():
    linux = [t for t in NAMED.values() if t.system == "linux"]
    assert len({t.fingerprint for t in linux}) == len(linux)
    known = Records([record(target=NAMED["linux-x86_64-v3"].fingerprint)])
    others = [t for t in linux if t.name != "linux-x86_64-v3"]
    assert all(known.best("w", t) is None for t in others)
    smaller = dataclasses.replace(HOST, l2_bytes=HOST.l2_bytes // 2)
    assert smaller.fingerprint != HOST.fingerprint
    renamed = dataclasses.replace(HOST, name="another", cores=64)
    assert renamed.fingerprint == HOST.fingerprint


def test_damaged_lines_are_told_in_a_sentence_and_skipped(tmp_path, caplog):
    path = tmp_path / "r.jsonl"
    good = [record(config={"a": i}) for i in range(3)]
    changed = good[1].line().replace(b'"a":1', b'"a":7')
    path.write_bytes(good[0].line() + changed + b"\xff{]\n[]\n3\n\n" + good[2].line())
    assert list(read(path)) == [good[0], good[2]]
    (message,) = caplog.messages
    assert "4 of 7" in message and "line 2, 3, 4, 5" in message and "\n" not in message


def test_a_line_cut_short_costs_only_itself(tmp_path):
    path = tmp_path / "r.jsonl"
    one, two, three = (record(config={"a": i}) for i in range(3))
    append(path, one)
    with path.open("ab") as file:
        file.write(two.line()[:40])
    append(path, three)
    assert list(read(path)) == [one, three]


def test_shipped_records_serve_where_the_user_has_judged_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHIPPED", tmp_path / "shipped")
    append(shipped_file(HOST), record(1e-3, workload="shipped", modelled="a simulator"))
    assert Records.of(HOST).seconds("shipped", HOST) == 1e-3
    append(user_file(HOST), record(2e-3, workload="own"))
    assert Records.of(HOST).seconds("own", HOST) == 2e-3
    append(user_file(HOST), record(5e-3, None, workload="shipped", config={"a": 2}))
    assert Records.of(HOST).best("shipped", HOST).modelled  # the user's is a trial only
    append(user_file(HOST), record(3e-3, 3e-3, workload="shipped", config={"a": 2}))
    assert Records.of(HOST).best("shipped", HOST) is None


def test_records_made_for_one_core_serve_no_other_and_teach_its_family(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHIPPED", tmp_path)
    a55, a53, a76 = (NAMED[f"linux-arm64-cortex-{c}"] for c in ("a55", "a53", "a76"))
    append(shipped_file(a55), record(target=a55.fingerprint))
    assert Records.of(a55).best("w", a55)
    for other in (a53, a76, HOST):
        assert len(Records.of(other)) == 0
        # not even from the wrong file
        assert Records(read(shipped_file(a55))).best("w", other) is None
    assert [r.target for r in of_family(a76)] == [a55.fingerprint]
    assert not list(of_family(HOST))


def test_what_is_shipped_can_be_read_and_is_small():
    files = sorted(module.SHIPPED.glob("*.jsonl"))
    assert sum(f.stat().st_size for f in files) < 1 << 20
    for path in files:
        for line in path.read_bytes().splitlines():
            shipped = parse(line)
            of = of_fingerprint(shipped.target)
            assert of is not None and shipped_file(of) == path
            assert shipped.default is not None
            assert bool(shipped.modelled) == (of.family == "aarch64")


def test_a_fingerprint_tells_its_target():
    for known in (*NAMED.values(), HOST):
        found = of_fingerprint(known.fingerprint)
        assert found is not None and found.lanes == known.lanes
        assert (found.l1_bytes, found.l2_bytes) == (known.l1_bytes, known.l2_bytes)
    assert of_fingerprint("x86_64:unheard-of,lanes=16,l1=48K,l2=2048K") is None
    assert of_fingerprint("") is None


def test_a_full_disk_is_an_error_in_a_sentence_and_loses_nothing(tmp_path):
    path = tmp_path / "r.jsonl"
    append(path, record(config={"a": 1}))
    before = path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (before + 30, hard))
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            append(path, record(config={"a": 2}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    append(path, record(config={"a": 3}))
    assert [r.config["a"] for r in read(path)] == [1, 3]


def test_a_folder_that_cannot_be_made_is_an_error_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        append(tmp_path / "file" / "r.jsonl", record())


def test_processes_that_append_at_once_lose_nothing(tmp_path):
    path = tmp_path / "r.jsonl"
    code = """
import sys
from pathlib import Path
from armlet.compiler.records import Record, append
for i in range(40):
    append(Path(sys.argv[1]), Record("t", "w" * 99, "m", 1, {"a": i, "b": int(sys.argv[2])}, 1.0))
"""
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(path), str(n)], env=os.environ)
        for n in range(3)
    ]
    assert all(w.wait() == 0 for w in writers)
    assert len({r.identity for r in read(path)}) == 120


def test_a_record_decides_on_the_kernel_and_its_key():
    net = Net()
    net.matmul(net.x(24, 40), net.x(40, 64))
    group = net.group()
    assert group.workload == "matmul(f32[24,40], f32[40,64]) : f32[24,64]"
    (plain,) = lower([group], HOST)
    assert not plain.recorded and plain.config["rows"] > 1
    config = {**plain.config, "rows": 1, "vectors": 1}
    version = MatMul.version
    found = record(template="matmul", version=version, workload=group.workload, config=config)
    (tuned,) = lower([group], HOST, records=Records([found]))
    assert tuned.recorded and dict(tuned.config) == config and tuned.key != plain.key
    old = dataclasses.replace(found, version=0)
    (kernel,) = lower([group], HOST, records=Records([old]))
    assert not kernel.recorded and kernel.object and kernel.config == plain.config
