"""The tuner: what it measures, when it stops, what it records, and that killing it costs little."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from armlet.compiler.build import build
from armlet.compiler.ir import Module
from armlet.compiler.ops import parse
from armlet.compiler.records import Records, read
from armlet.compiler.tune.tasks import group_of, points_of, tasks_of
from armlet.compiler.tune.tuner import BATCH, Budget, Tuner
from armlet.errors import OutputError

from .fake import HOST, FakeMeter, convolution, invented, task

ROOT = Path(__file__).parents[3]


def tuned(path, tasks, seconds=invented, **budget):
    meter = FakeMeter(seconds)
    tuner = Tuner(tasks, HOST, meter, path)
    return tuner.run(Budget(**budget)), meter


def test_a_workloads_text_makes_its_group_again():
    workload = convolution()
    assert group_of(workload.group.workload).workload == workload.group.workload
    text = "matmul_packed(f32[1,128,512], f32[32,512,16]) {columns=512} : f32[1,128,512]"
    assert group_of(text).workload == text


SEPARABLE = """\
const $e : f32[96,16,1,1] = random(1)
const $d : f32[96,1,3,3] = random(2)
const $p : f32[16,96,1,1] = random(3)
const $w : f32[16,16,3,3] = random(4)
def main(%x: f32[1,16,112,112]) -> f32[1,16,112,112] {
  %e = conv2d(%x, $e) : f32[1,96,112,112]  # "e"
  %f = relu(%e) : f32[1,96,112,112]  # "f"
  %d = conv2d(%f, $d) {pads=[1,1,1,1], group=96} : f32[1,96,112,112]  # "d"
  %p = conv2d(%d, $p) : f32[1,16,112,112]  # "p"
  %y = conv2d(%p, $w) {pads=[1,1,1,1]} : f32[1,16,112,112]  # "w"
  return %y
}
"""


def test_a_chain_is_one_task_and_its_record_decides_on_its_kernel(tmp_path):
    module = Module(parse(SEPARABLE), ("y",))
    tasks = {t.name: t for t in tasks_of(module, HOST)}
    assert set(tasks) == {"p", "w"}
    (workload,) = tasks["p"].workloads
    assert workload.text.count(" -> ") == 2 and len(workload.constants) == 3
    assert group_of(workload.text).workload == workload.text
    assert {p.template.name for p in tasks["p"].points(HOST)} == {"conv2d_chain"}
    (job,), _ = tuned(tmp_path / "r", [tasks["p"]], trials=40)
    best = job.points[job.search.best]
    made = build(module, HOST, records=Records(read(tmp_path / "r")))
    (chain,) = [k for k in made.plan.kernels if k.template == "conv2d_chain"]
    assert chain.recorded and chain.config == best.record.config


def test_each_forms_default_comes_first_and_the_budget_is_kept(tmp_path):
    seen = {}
    jobs, meter = tuned(tmp_path / "r", [task(32, 48), task(64)], trials=40)
    assert len(meter.measured) == 40
    assert [p.default for p in meter.measured[:3]] == [True] * 3
    for point in meter.measured:
        assert point.record.identity not in seen
        seen[point.record.identity] = point
    assert all(job.verdict for job in jobs)


def test_what_is_heavy_gets_most_trials(tmp_path):
    jobs, _ = tuned(tmp_path / "r", [task(32, count=1), task(64, count=200)], trials=60)
    assert jobs[1].trials > 3 * jobs[0].trials


def test_a_meter_that_runs_much_at_once_gets_candidates_of_several_tasks(tmp_path):
    batches = []

    class Wide(FakeMeter):
        together = 2

        def start(self, points, keep=None, best=(), **race):
            if keep:
                batches.append(({p.workload.text for p in points}, list(best)))
            return super().start(points, keep, **race)

    Tuner([task(32), task(48), task(64)], HOST, Wide(), tmp_path / "r").run(Budget(trials=40))
    assert [len(workloads) for workloads, _ in batches[1:]] == [2, 2, 1]
    assert [len(best) for _, best in batches] == [0, 16, 16, 5]


def test_a_meter_that_works_ahead_gets_rounds_before_the_last_is_over(tmp_path):
    class Late(FakeMeter):
        """Tells nothing before as many rounds are begun as it takes."""

        ahead = 3

        def __init__(self):
            super().__init__()
            self.going, self.most = 0, 0

        def start(self, points, keep=None, **race):
            self.going += 1
            self.most = max(self.most, self.going)
            return Told(self, super().start(points, keep, **race))

    class Told:
        def __init__(self, meter, future):
            self.meter, self.future = meter, future

        def result(self):
            self.meter.going -= 1
            return self.future.result()

    path, meter = tmp_path / "r", Late()
    jobs = Tuner([task(32), task(48), task(64)], HOST, meter, path).run(Budget(trials=60))
    assert meter.most == 3 and meter.going == 0
    assert len(meter.measured) == sum(job.trials for job in jobs) == 60
    assert len({p.record.identity for p in meter.measured}) == 60
    assert all(job.verdict and job.trials >= 9 for job in jobs), "each is searched in its turn"


def test_it_stops_when_no_gain_is_to_be_expected(tmp_path):
    jobs, _ = tuned(tmp_path / "r", [task(32)], seconds=lambda p: 1e-3)
    assert jobs[0].trials < len(jobs[0].points) / 2


def test_the_best_serves_and_the_verdict_says_what_it_was_compared_with(tmp_path):
    path = tmp_path / "r"
    (job,), _ = tuned(path, [task(32)], trials=60)
    workload = job.task.workloads[0].group.workload
    records = Records(read(path))
    best = records.best(workload, HOST)
    assert best is not None and best.seconds == job.best_seconds < best.default
    assert records.seconds(workload, HOST) == best.seconds


def test_what_is_not_faster_in_the_end_does_not_serve(tmp_path):
    times = iter([])

    def faster_only_once(point):
        nonlocal times
        return 1e-3 if point.default else next(times, 2e-3)

    path = tmp_path / "r"
    times = iter([0.5e-3] * 30)
    (job,), _ = tuned(path, [task(32)], seconds=faster_only_once, trials=31)
    assert job.best_seconds == 0.5e-3 and job.verdict == (1e-3, 1e-3)
    records = Records(read(path))
    assert records.best(job.task.workloads[0].group.workload, HOST) is None
    assert any(r.rejected for r in records)


def test_candidates_that_fail_are_recorded_and_not_tried_again(tmp_path):
    def seconds(point):
        return invented(point) if point.default or point.record.config["unroll"] == 1 else None

    path = tmp_path / "r"
    (job,), _ = tuned(path, [task(32)], seconds=seconds, trials=40)
    assert job.failures and job.verdict
    failed = {r.identity for r in read(path) if r.failure}
    again = Tuner([task(32)], HOST, FakeMeter(seconds), path)
    again.run(Budget(trials=40))
    assert failed.isdisjoint(p.record.identity for p in again.meter.measured)


def test_it_goes_on_where_it_was(tmp_path):
    path = tmp_path / "r"
    _, first = tuned(path, [task(32)], trials=20)
    _, second = tuned(path, [task(32)], trials=20)
    identities = [p.record.identity for p in (*first.measured, *second.measured)]
    assert len(set(identities)) == len(identities) == 40


def test_modelled_seconds_are_not_taken_for_measured_ones(tmp_path):
    path = tmp_path / "r"

    class Modelled(FakeMeter):
        modelled = "a simulator"

    Tuner([task(32)], HOST, Modelled(), path).run(Budget(trials=16))
    assert all(r.modelled for r in read(path))
    (job,), meter = tuned(path, [task(32)], trials=8)
    assert meter.measured[0].default and job.trials == 8


def test_other_workloads_records_teach(tmp_path):
    """After 48 trials of a neighbour, the first batch is better than without them."""

    def seconds(point):
        config = point.record.config
        return 1e-3 * (1 + abs(config["pixels"] - 7) / 10 + (config["vectors"] != 1))

    def first_batch(path):
        _, meter = tuned(path, [task(64)], seconds=seconds, trials=BATCH)
        return min(map(seconds, meter.measured[1:]))

    alone = first_batch(tmp_path / "alone")
    tuned(tmp_path / "taught", [task(32), task(48)], seconds=seconds, trials=80)
    assert first_batch(tmp_path / "taught") <= alone


def test_a_full_disk_ends_it_with_a_sentence(tmp_path, monkeypatch):
    path = tmp_path / "r"
    tuned(path, [task(32)], trials=8)
    write = os.write
    with monkeypatch.context() as patched, pytest.raises(OutputError, match="cannot be written"):
        patched.setattr(
            "armlet.compiler.records.os.write", lambda file, data: write(file, data[:9])
        )
        tuned(path, [task(32)], trials=8)
    tuned(path, [task(32)], trials=8)
    assert len([r for r in read(path) if r.default is None]) == 16


def kill_at_random(path: Path, seed: int) -> tuple[int, int]:
    """Trials that were told of before the process was killed, and records on the disk."""
    before = len(list(read(path)))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.compiler.tune.fake", str(path)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout
    process.stdout.readline()
    time.sleep(random.Random(seed).uniform(0, 0.5))
    process.send_signal(signal.SIGKILL)
    told = [int(line) for line in process.stdout.read().split()]
    process.wait()
    return max(told, default=0), len(list(read(path))) - before


@pytest.mark.parametrize("seeds", [range(4), pytest.param(range(4, 50), marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_loses_one_record_at_most(tmp_path, seeds, caplog):
    path = tmp_path / "r"
    for seed in seeds:
        caplog.clear()
        told, kept = kill_at_random(path, seed)
        assert kept >= told
        lost = [m for m in caplog.messages if "damaged" in m]
        assert len(lost) <= 1
    points = {p.record.identity for w in (32, 48, 64) for p in points_of(convolution(w), HOST)}
    trials = [r.identity for r in read(path) if r.default is None]
    assert len(trials) == len(set(trials)), "a trial was made twice"
    assert set(trials) <= points
