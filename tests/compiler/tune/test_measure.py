"""Measuring: right kernels get times, and each way to fail has its name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from armlet.compiler.ir import Builder, TensorType
from armlet.compiler.ir.group import Group
from armlet.compiler.lower.kernel import Kernel
from armlet.compiler.ops import OPERATORS
from armlet.compiler.records import Record
from armlet.compiler.tune.measure import Builders, Meter
from armlet.compiler.tune.runner import Workload
from armlet.compiler.tune.tasks import Point, points_of
from armlet.schedules.cpu import TEMPLATES
from armlet.targets import target
from tests.runtime.tiny import compiled

from .fake import convolution

HOST = target()
SIZE = 1000
HEAD = "void {symbol}(const float *x, float *y, int begin, int end, void *scratch) {{ {body} }}"
RIGHT = f"for (int i = 0; i < {SIZE}; i++) y[i] = x[i] > 0 ? x[i] : 0;"
BODIES = {
    "right": RIGHT,
    "slow": f"for (volatile int n = 0; n < 200; n++) {{ {RIGHT} }}",
    "wrong": f"for (int i = 0; i < {SIZE}; i++) y[i] = x[i];",
    "forgets": f"for (int i = 1; i < {SIZE}; i++) y[i] = x[i] > 0 ? x[i] : 0;",
    "beyond": f"{RIGHT} y[{SIZE} + 3] = 1;",
    "crash": "*(volatile int *)8 = 1;",
    "hang": "for (volatile int i = 0;; i++) {}",
}


def workload() -> Workload:
    builder = Builder(source="layer")
    builder.call(OPERATORS["relu"](), builder.param("x", TensorType((SIZE,))))
    (call,) = builder.bindings
    return Workload(Group.of([call]), ())


def point(shared: Workload, number: int) -> Point:
    record = Record(HOST.fingerprint, "relu", "by hand", 1, {"number": number}, None)
    return Point(shared, TEMPLATES[0], record, number == 0)


class ByHand(Builders):
    """Kernels written in C."""

    def __init__(self, names):
        super().__init__()
        self.names = names

    def build(self, points, target):
        made = []
        for number, name in enumerate(self.names):
            if name == "compile":
                made.append(ValueError("no such loop"))
                continue
            symbol = f"k{number}"
            source = HEAD.format(symbol=symbol, body=BODIES[name])
            made.append(Kernel(symbol, symbol, compiled(source), 1, 0, "by hand", 1))
        return made


def measured(*names: str, **race):
    shared = workload()
    with Meter(HOST) as meter:
        meter.builders = ByHand(names)
        points = [point(shared, n) for n in range(len(names))]
        return meter.measure(points, patience=1.0, **race)


def test_each_failure_is_named_and_the_others_are_measured():
    names = ["right", "crash", "wrong", "hang", "compile", "forgets", "beyond", "slow"]
    found = dict(zip(names, measured(*names)))
    for name, kind in {
        "crash": "crash: the process ended by signal 11",
        "hang": "timeout: it ran for 1 s",
        "wrong": "wrong: its answer differs",
        "forgets": "wrong: its answer differs",
        "beyond": "wrong: it writes beyond its buffers",
        "compile": "compile: no such loop",
    }.items():
        assert found[name].failure.startswith(kind), found[name]
        assert found[name].seconds is None
    assert not (found["right"].failure or found["slow"].failure), found
    assert found["right"].seconds < found["slow"].seconds
    assert found["right"].date and found["right"].spread >= 0


def test_what_is_surely_slower_is_given_up_early():
    shared = workload()
    with Meter(HOST) as meter:
        meter.builders = ByHand(["right", "slow"])
        points = [point(shared, n) for n in range(2)]
        found = meter.start(points).result()
        (_, right), (_, slow) = found
        assert 0 < len(slow) < len(right), found
        (_, right), (_, slow) = meter.start(points, races=False).result()
        assert len(slow) > 4


@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor(2)])
def test_a_real_workload_by_any_executor(executor):
    points = list(points_of(convolution(32, 9), HOST))
    some = [points[i] for i in np.linspace(0, len(points) - 1, 4).astype(int)]
    with Meter(HOST, executor) as meter:
        records = meter.measure(some)
    assert all(r.seconds and not r.failure for r in records), records
    macs = some[0].workload.group.macs
    assert all(2 * macs / r.seconds < 1e12 for r in records if r.seconds)


def test_a_builder_process_that_dies_is_a_failure_and_is_replaced(monkeypatch):
    points = list(points_of(convolution(32, 9), HOST))[:2]
    with Meter(HOST) as meter:
        pool = meter.builders.executor
        pool.submit(int).result()
        for process in pool._processes.values():
            process.kill()
        failed = meter.measure(points[:1])
        assert failed[0].failure.startswith("compile: the process that built it died")
        assert meter.measure(points[1:])[0].seconds


@pytest.mark.slow
def test_a_dask_cluster_builds():
    distributed = pytest.importorskip("distributed")
    points = list(points_of(convolution(32, 9), HOST))[:3]
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as one,
        distributed.Client(one) as client,
        Meter(HOST, client.get_executor()) as meter,
    ):
        assert all(r.seconds for r in meter.measure(points))
