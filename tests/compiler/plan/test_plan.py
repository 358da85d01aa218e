"""The memory plan: no two live tensors share bytes, the arena is near its lower bound."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armlet.compiler.lower.kernel import Kernel
from armlet.compiler.ops import parse
from armlet.compiler.passes import separate_results
from armlet.compiler.passes.fuse import fuse
from armlet.compiler.plan import arena
from armlet.compiler.plan.plan import Location, Space
from armlet.compiler.plan.planner import plan
from armlet.compiler.plan.storage import Buffer, lower_bound
from armlet.compiler.plan.verifier import PlanError, verify_plan


def planned(text):
    function = separate_results.run(parse(text))
    items = fuse(function)
    groups = [i for i in items if not hasattr(i, "op")]
    kernels = {g: Kernel(g.key("t"), "k", b"", 1, 0, "none", 1) for g in groups}
    made = plan(function, [f"out{i}" for i in range(len(function.results))], items, kernels)
    verify_plan(made, items)
    return made, items


CHAIN = """\
const $w : f32[4,4,1,1] = random(1)
def main(%x: f32[1,4,8,8]) -> f32[1,4,8,8] {
  %a = conv2d(%x, $w) : f32[1,4,8,8]  # "a"
  %b = conv2d(%a, $w) : f32[1,4,8,8]  # "b"
  %c = conv2d(%b, $w) : f32[1,4,8,8]  # "c"
  %d = conv2d(%c, $w) : f32[1,4,8,8]  # "d"
  return %d
}
"""


def test_a_chain_needs_two_buffers_and_shares_one_kernel():
    made, _ = planned(CHAIN)
    assert made.arena_bytes == made.arena_lower_bound == 2 * 4 * 8 * 8 * 4
    assert len(made.kernels) == 1 and len(made.tasks) == 4
    assert made.tasks[-1].arguments[-1] == Location(Space.OUTPUT)
    assert made.tasks[0].arguments[0] == Location(Space.INPUT)
    assert made.constant_bytes == 64


def test_an_elementwise_kernel_writes_over_its_dying_input():
    made, _ = planned("""\
def main(%x: f32[64]) -> f32[8,8] {
  %a = cumsum(%x) {axis=0} : f32[64]  # "a"
  %r = relu(%a) : f32[64]  # "r"
  %v = reshape(%r) {shape=[8,8]} : f32[8,8]  # "v"
  %s = softmax(%v) {axis=1} : f32[8,8]  # "s"
  %t = softmax(%s) {axis=0} : f32[8,8]  # "t"
  return %t
}
""")
    assert made.arena_bytes == made.arena_lower_bound == 2 * 256


def test_an_overlapping_plan_is_refused_by_the_verifier():
    made, items = planned(CHAIN)
    tasks = list(made.tasks)
    clobber = (*tasks[1].arguments[:-1], tasks[0].arguments[-1])
    tasks[1] = replace(tasks[1], arguments=clobber)
    tasks[2] = replace(tasks[2], arguments=(tasks[0].arguments[-1], *tasks[2].arguments[1:]))
    with pytest.raises(PlanError, match="overwrites its input"):
        verify_plan(replace(made, tasks=tuple(tasks)), items)


def test_a_read_of_what_is_gone_is_refused_by_the_verifier():
    made, items = planned(CHAIN)
    tasks = list(made.tasks)
    wrong = replace(tasks[2].arguments[0], offset=tasks[2].arguments[-1].offset)
    tasks[2] = replace(tasks[2], arguments=(wrong, *tasks[2].arguments[1:]))
    with pytest.raises(PlanError, match="not in the arena"):
        verify_plan(replace(made, tasks=tuple(tasks)), items)


def test_results_that_are_views_are_written_in_place():
    made, _ = planned("""\
def main(%x: f32[4]) -> (f32[2,2], f32[4]) {
  %y = relu(%x) : f32[4]  # "y"
  %v = reshape(%y) {shape=[2,2]} : f32[2,2]  # "v"
  return %v, %x
}
""")
    assert [t.arguments[-1] for t in made.tasks] == [
        Location(Space.OUTPUT, index=0), Location(Space.OUTPUT, index=1),
    ]  # fmt: skip
    assert made.arena_bytes == 0


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 5000), st.integers(0, 30), st.integers(0, 6)),
        min_size=1, max_size=40,
    )
)  # fmt: skip
def test_buffers_alive_together_never_overlap(rows):
    buffers = [Buffer(size, first, first + span) for size, first, span in rows]
    size, offsets = arena.assign(buffers)
    assert lower_bound(buffers) <= size <= 1.5 * lower_bound(buffers)
    owner = np.zeros((40, size), np.int32)
    for number, b in enumerate(buffers, 1):
        region = owner[b.first : b.last + 1, offsets[b] : offsets[b] + b.bytes]
        assert not region.any()
        region[:] = number
