"""Attention of every awkward size, in one kernel."""

from __future__ import annotations

import pytest

from armlet.schedules.cpu.attention import AttentionTemplate
from armlet.targets import target

from .harness import Case, Net, assembly, check, check_configs, hot_loops, spills


def attention(queries, keys, heads=2, depth=8, width=8, batch=1, mask=None, scale=0.3) -> Case:
    net = Net()
    operands = [
        net.x(batch, queries, heads, depth), net.x(batch, keys, heads, depth),
        net.x(batch, keys, heads, width), *([net.x(*mask)] if mask else []),
    ]  # fmt: skip
    net.attention(*operands, scale=scale)
    return Case(f"{queries} x {keys} of {heads} heads, {depth}, {width}, {mask}", net)


def test_attention_of_every_number_of_queries_and_keys():
    cases = [attention(n, 9) for n in (1, 2, 15, 16, 17, 33, 50)]
    check([*cases, *(attention(5, n) for n in (1, 2, 7, 31, 40))], "attention")


def test_attention_of_every_width():
    sizes = (1, 3, 15, 16, 20, 31, 64, 80, 100)
    check([attention(19, 11, depth=n, width=n) for n in sizes], "attention")
    check([attention(19, 11, depth=16, width=n, batch=2) for n in (5, 65)], "attention")


def test_masks_are_broadcast():
    masks = [(7,), (20, 7), (1, 2, 1, 7), (3, 1, 1, 7), (3, 2, 20, 7), (2, 20, 1)]
    check([attention(20, 7, batch=3, mask=m) for m in masks], "attention")


def test_large_scores_do_not_overflow():
    check([attention(8, 30, scale=100.0)], "attention")


def test_what_follows_joins():
    net = Net()
    y = net.attention(net.x(1, 9, 2, 4), net.x(1, 6, 2, 4), net.x(1, 6, 2, 4))
    net.add(y, net.x(1, 9, 2, 4))
    check([Case("residual", net)], "attention")


@pytest.mark.parametrize("name", ["linux-x86_64", "linux-x86_64-v3"])
def test_attention_on_shorter_vectors(name):
    check([attention(21, 13, depth=16, width=20), attention(3, 5)], "attention", name)


def test_attention_by_every_kind_of_config():
    configs = [{"vectors": v, "keys": k, "rows": r} for v in (1, 2) for k in (1, 5) for r in (3, 7)]
    check_configs(attention(37, 12, depth=16, width=40), configs)


def test_products_are_in_registers_and_the_kernel_calls_nothing():
    lines = assembly(attention(128, 128, 8, 64, 64).net.group())
    loops = hot_loops(lines)
    assert max(sum("vfmadd" in line for line in loop) for loop in loops) >= 24
    assert not [line for loop in loops for line in spills(loop)]
    assert not [line for line in lines if "\tcall" in line]


def test_space_is_small():
    group = attention(128, 128, 8, 64, 64).net.group()
    assert len(list(AttentionTemplate().space(group, target("linux-x86_64-v4")))) <= 2000
