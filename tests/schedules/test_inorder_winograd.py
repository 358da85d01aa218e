"""Winograd's transforms for cores that issue in order: their code, played and looked at."""

from __future__ import annotations

import re

import numpy as np
import pytest

from armlet.compiler.ops.toom_cook import array, transforms
from armlet.schedules.cpu.inorder import winograd
from armlet.schedules.cpu.inorder.pipeline import pipeline
from armlet.schedules.cpu.inorder.schedule import DoesNotFitError
from armlet.schedules.cpu.inorder.straight import Instruction, order
from armlet.targets import target

from .aarch64 import Machine

A55, A53 = target("linux-arm64-cortex-a55"), target("linux-arm64-cortex-a53")
APART = 1024


def _played(m, core, back):
    """A machine that did a transform of a tile [edge, edge, 4]; the tile; registers of results."""
    machine, edge = Machine(), m + 2
    tile = np.random.default_rng(0).standard_normal((edge, edge, 4)).astype("f")
    ordered, sums, results = winograd._ordered(m, core, back)
    if back:
        spread = np.zeros((edge**2, APART // 4), "f")
        spread[:, :4] = tile.reshape(-1, 4)
        start = machine.hold(spread)
        names = {f"place{j}": start + j * APART for j in range(edge)}
        names |= {f"upper{j}": start + j * APART + 8 for j in range(edge)}
    else:
        start = machine.hold(tile)
        names = {f"row{r}": start + r * 16 * edge for r in range(edge)}
        names |= {f"place{j}": j * APART for j in range(edge)}
    machine.give({f"<{n}>": v for n, v in names.items()})
    machine.give({f"<rows{i}>": i * edge * APART for i in range(1, edge)})
    first = core.vector_registers - sums.registers
    for i in range(sums.registers):
        some = [*map(float, sums.constants[4 * i : 4 * i + 4])]
        machine.vectors[str(first + i)] = np.array([*some, *[0] * (4 - len(some))], "f")
    machine.run(
        [re.sub(r"v<constants(\d)>", lambda f: f"v{first + int(f[1])}", t) for t in ordered.texts]
    )
    return machine, tile, [ordered.kept[r] for r in results]


@pytest.mark.parametrize("core", [A55, A53], ids=["a55", "a53"])
@pytest.mark.parametrize("m", [2, 4])
def test_transforms_of_a_tile(m, core):
    t, edge = transforms(m), m + 2
    machine, tile, _ = _played(m, core, False)
    want = np.einsum("ir,rsv,js->ijv", array(t.b), tile, array(t.b)).reshape(-1, 4)
    got = np.array([machine.stored[i * APART] for i in range(edge**2)])
    np.testing.assert_allclose(got, want, atol=1e-4)
    machine, tile, registers = _played(m, core, True)
    want = np.einsum("ir,rsv,js->ijv", array(t.a), tile, array(t.a)).reshape(-1, 4)
    np.testing.assert_allclose([machine.vectors[r] for r in registers], want, atol=1e-4)
    assert len(set(registers)) == m * m


def test_transforms_issue_two_instructions_in_most_cycles():
    for back, most in ((False, 0.8), (True, 0.7)):
        ordered, sums, _ = winograd._ordered(4, A55, back)
        assert ordered.cycles * most < len(sums.code) / 2
        assert len(ordered.texts) == len(sums.code)


def test_tiles_too_large_for_the_registers_are_left_to_the_compiler():
    assert winograd.cycles(6, A55, False) is None


def test_a_value_is_read_before_its_register_is_taken():
    code = [
        Instruction("load_half", "ldr d{a}, [x0]", "a"),
        Instruction("load_half", "ldr d{b}, [x0, #8]", "b"),
        Instruction("vector", "fadd v{c}.4s, v{a}.4s, v{b}.4s", "c", ("a", "b")),
    ]
    made = order(code, pipeline(A55), ["0", "1"], [])
    assert made.texts[-1] in ("fadd v0.4s, v0.4s, v1.4s", "fadd v1.4s, v0.4s, v1.4s")
    with pytest.raises(DoesNotFitError):
        order(code, pipeline(A55), ["0"], [])
