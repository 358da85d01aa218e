"""Recurrences of every size, in one kernel."""

from __future__ import annotations

import pytest

from armlet.compiler.ops.recurrent import Gru, GruResetFirst, Lstm, Recurrent, Rnn, pack_recurrent
from armlet.targets import target

from .harness import Case, Net, assembly, check, check_configs, hot_loops, spills

CELLS = {"lstm": Lstm, "gru": Gru, "gru_reset_first": GruResetFirst, "rnn": Rnn}


def recurrent(name, steps, batch, hidden, reverse=False, bias=True, clip=0.0, lanes=16) -> Case:
    net, cell = Net(), CELLS[name]
    assert issubclass(cell, Recurrent)
    draw = net.rng.standard_normal
    r = pack_recurrent(draw((1, hidden, cell.gates, hidden)).astype("f") / hidden**0.5, lanes)
    operands = [net.x(steps, batch, cell.gates * hidden), net.x(batch, hidden)]
    if cell.has_cell:
        operands.append(net.x(batch, hidden))
    if bias and cell.extra[1] > cell.has_cell:
        operands.append(net.c(draw(3 * hidden if name == "lstm" else hidden)))
    names = ("tanh",) if name == "rnn" else ("sigmoid", "tanh", "tanh")[: 2 + cell.has_cell]
    zeros = (0.0,) * len(names)
    net.call(cell(reverse, names, zeros, zeros, clip), *operands, net.c(r))
    return Case(f"{name} of {steps} x {batch} x {hidden}", net)


@pytest.mark.parametrize("name", CELLS)
def test_recurrence_of_every_number_of_units(name):
    sizes = (1, 2, 7, 15, 16, 17, 33, 48)
    check([recurrent(name, 3, 2, n, reverse=n % 2 == 0) for n in sizes], "recurrent")


@pytest.mark.parametrize("name", CELLS)
def test_recurrence_of_every_batch_and_length(name):
    cases = [recurrent(name, 2, n, 20, bias=False) for n in (1, 3, 4, 5, 9)]
    cases += [recurrent(name, n, 1, 18, reverse=True) for n in (1, 2, 100)]
    check([*cases, recurrent(name, 4, 2, 24, clip=0.3)], "recurrent")


def test_recurrence_on_shorter_vectors():
    check([recurrent(n, 3, 3, 21, lanes=8) for n in CELLS], "recurrent", "linux-x86_64-v3")


def test_recurrence_by_every_kind_of_config():
    configs = [{"rows": r, "unroll": u} for r in (1, 2, 3) for u in (1, 2)]
    check_configs(recurrent("lstm", 3, 5, 35), configs)


def test_sums_stay_in_registers_and_the_kernel_calls_nothing():
    lines = assembly(recurrent("lstm", 10, 1, 128).net.group())
    loops = hot_loops(lines)
    assert max(sum("vfmadd" in line for line in loop) for loop in loops) >= 4
    assert not [line for loop in loops for line in spills(loop)]
    assert not [line for line in lines if "\tcall" in line]
    assert target("linux-x86_64-v4").lanes == 16
