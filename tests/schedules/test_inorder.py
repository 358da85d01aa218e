"""The register tile for cores that issue in order: its schedule, played and looked at."""

from __future__ import annotations

import re

import numpy as np
import pytest

from armlet.schedules.cpu.inorder import assembly
from armlet.schedules.cpu.inorder.pipeline import pipeline
from armlet.schedules.cpu.inorder.schedule import (
    Body,
    Control,
    DoesNotFitError,
    Load,
    Step,
    schedule,
)
from armlet.schedules.cpu.inorder.tile import Shape, Tap, interval
from armlet.targets import target

from .aarch64 import Machine

A55, A53 = target("linux-arm64-cortex-a55"), target("linux-arm64-cortex-a53")


def _shape(rows, columns, taps=1, depth=4, nested=False, missing=(), stride=1):
    """Pixels in a row under a kernel of ``taps`` columns; ``missing``: pairs of tap and row."""
    pixel = 4 * depth
    return Shape(
        columns,
        tuple(pixel * stride * r for r in range(rows)),
        tuple(
            Tap(pixel * t, tuple(r for r in range(rows) if (t, r) not in missing))
            for t in range(taps)
        ),
        depth,
        nested,
    )


def _play(shape, core, biased=True, counts=(3, 2)):
    """The accumulators by the machine and by NumPy."""
    rng, machine = np.random.default_rng(0), Machine()
    inner = counts[1] if shape.nested else 1
    iterations = counts[0] * inner
    line = max(t.offset + r for t in shape.taps for r in shape.rows) + 4 * shape.depth
    weights = 16 * shape.depth * len(shape.taps)
    rows = rng.integers(-4, 5, (iterations, line // 4)).astype("f")
    columns = rng.integers(-4, 5, (shape.columns, iterations, weights // 16, 4)).astype("f")
    start = rng.integers(-4, 5, (shape.columns, 4)).astype("f")
    o = assembly._operands(shape)
    base, column = machine.hold(rows), machine.hold(columns)
    values = {f"base{i}": base + b for i, b in enumerate(shape.bases)}
    values |= {f"column{i}": column + i * weights * iterations for i in range(shape.columns)}
    values |= {"count": iterations, "row_step": line, "column_step": weights}
    values |= {"inner": inner, "inner_count": inner, "row_wrap": line, "column_wrap": weights}
    values |= {"start": machine.hold(start)}
    machine.give({o[n]: v for n, v in values.items() if n in o.names})
    machine.run(assembly.lines(shape, core, biased))
    want = np.zeros((len(shape.rows), shape.columns, 4), "f") + start * biased
    for t, tap in enumerate(shape.taps):
        for r in tap.rows:
            first = (tap.offset + shape.rows[r]) // 4
            for i in range(shape.depth):
                number = rows[:, first + i]
                want[r] += np.einsum("k,ckv->cv", number, columns[:, :, t * shape.depth + i])
    got = [machine.vectors[str(i)] for i in range(shape.accumulators)]
    return np.reshape(got, want.shape), want


@pytest.mark.parametrize("core", [A55, A53], ids=["a55", "a53"])
@pytest.mark.parametrize(
    "shape",
    [
        *(_shape(r, 2) for r in range(1, 9)),
        *(_shape(r, 1) for r in (1, 7, 12)),
        *(_shape(r, 3) for r in (1, 4, 6)),
        *(_shape(8, 2, depth=d) for d in (2, 3)),
        _shape(8, 2, taps=5, depth=1),
        _shape(8, 2, taps=3, nested=True),
        _shape(7, 2, taps=3, nested=True, stride=2, missing=((0, 0), (2, 6))),
        _shape(5, 2, taps=7, depth=3, stride=2, missing=((0, 0), (1, 0), (0, 1))),
    ],
    ids=lambda s: f"{len(s.rows)}x{s.columns}x{len(s.taps)}x{s.depth}",
)
def test_scheduled_tile_computes_what_the_unscheduled_one_does(shape, core) -> None:
    for biased, counts in ((True, (3, 2)), (False, (1, 1)), (True, (1, 4))):
        got, want = _play(shape, core, biased, counts)
        assert np.array_equal(got, want)


def test_far_rows_get_pointers_of_their_own() -> None:
    shape = Shape(1, (0, 20000, 40000, 60004), (Tap(0, (0, 1, 2, 3)),), 4)
    assert len(shape.bases) == 3
    got, want = _play(shape, A55)
    assert np.array_equal(got, want)


def test_multiply_adds_issue_every_cycle_on_the_a55() -> None:
    """Everything else issues beside them; no wide load holds them up."""
    assert interval(_shape(8, 2), A55) == 64
    assert interval(_shape(6, 3), A55) == 72
    assert interval(_shape(8, 2, taps=3, nested=True), A55) == 192
    lines = assembly.lines(_shape(8, 2), A55, biased=True)
    loop = lines[lines.index("1:") :]
    assert not any(re.match(r"ldp|ldr q", line) for line in loop)


def test_a_schedule_uses_no_unit_twice_in_a_cycle() -> None:
    for core in (A55, A53):
        p = pipeline(core)
        shape = _shape(8, 2, taps=3, nested=True)
        made = assembly.plan(shape, assembly._names(shape, assembly._operands(shape)), core)
        for cycle in range(made.interval):
            issued = [x for x in made.placed if x.time % made.interval == cycle]
            assert len(issued) <= p.width
            for unit, count in p.units.items():
                assert sum(p.kinds[x.kind].units.get(unit, 0) for x in issued) <= count


def test_too_many_values_for_the_registers_are_refused() -> None:
    body = Body(
        [Step("multiply_add", f"fmla {{v{i}}}", (f"v{i}",)) for i in range(8)],
        [Load(f"v{i}", "x0", 8 * i, 8) for i in range(8)],
        [Control("branch", "b.gt 1b")],
        registers=["31"],
        temporaries=[],
    )
    with pytest.raises(DoesNotFitError):
        schedule(body, pipeline(A55))
