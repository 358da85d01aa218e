"""The memory plan: no two live tensors share bytes, the arena is near its lower bound."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armlet.compiler.lower.kernel import Kernel
from armlet.compiler.ops import parse
from armlet.compiler.passes import form_views, separate_results
from armlet.compiler.passes.fuse import fuse
from armlet.compiler.plan import arena
from armlet.compiler.plan.plan import ALIGNMENT, Location, Space
from armlet.compiler.plan.planner import plan
from armlet.compiler.plan.storage import Buffer, Span, lower_bound
from armlet.compiler.plan.verifier import PlanError, verify_plan


def planned(text):
    return plan_of(form_views.run(separate_results.run(parse(text))))


def plan_of(function):
    items = fuse(function)
    groups = [i for i in items if not hasattr(i, "op")]
    kernels = {g: Kernel(g.key("t"), "k", b"", 1, 0, "none", 1) for g in groups}
    made = plan(function, [f"out{i}" for i in range(len(function.results))], items, kernels)
    verify_plan(made, function, items)
    return made, function, items


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
    made, *_ = planned(CHAIN)
    assert made.arena_bytes == made.arena_lower_bound == 2 * 4 * 8 * 8 * 4
    assert len(made.kernels) == 1 and len(made.tasks) == 4
    assert made.tasks[-1].arguments[-1] == Location(Space.OUTPUT)
    assert made.tasks[0].arguments[0] == Location(Space.INPUT)
    assert made.constant_bytes == 64


def test_an_elementwise_kernel_writes_over_its_dying_input():
    made, *_ = planned("""\
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
    made, function, items = planned(CHAIN)
    tasks = list(made.tasks)
    clobber = (*tasks[1].arguments[:-1], tasks[0].arguments[-1])
    tasks[1] = replace(tasks[1], arguments=clobber)
    tasks[2] = replace(tasks[2], arguments=(tasks[0].arguments[-1], *tasks[2].arguments[1:]))
    with pytest.raises(PlanError, match="overwrites its input"):
        verify_plan(replace(made, tasks=tuple(tasks)), function, items)


def test_a_read_of_what_is_gone_is_refused_by_the_verifier():
    made, function, items = planned(CHAIN)
    tasks = list(made.tasks)
    wrong = replace(tasks[2].arguments[0], offset=tasks[2].arguments[-1].offset)
    tasks[2] = replace(tasks[2], arguments=(wrong, *tasks[2].arguments[1:]))
    with pytest.raises(PlanError, match="not in the arena"):
        verify_plan(replace(made, tasks=tuple(tasks)), function, items)


def test_results_that_are_views_are_written_in_place():
    made, *_ = planned("""\
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
        st.lists(
            st.tuples(st.integers(1, 5000), st.integers(0, 30), st.integers(0, 6)),
            min_size=1, max_size=3,
        ),
        min_size=1, max_size=30,
    )
)  # fmt: skip
def test_bytes_that_matter_together_never_overlap(rows):
    buffers = [buffer_of(row) for row in rows]
    size, offsets = arena.assign(buffers)
    whole = all(len(b.spans) == 1 for b in buffers)
    most = 1.5 * lower_bound(buffers) if whole else sum(b.bytes for b in buffers)
    assert lower_bound(buffers) <= size <= most
    owner = np.zeros((40, size), np.int32)
    for number, b in enumerate(buffers, 1):
        assert offsets[b] % ALIGNMENT == 0
        for s in b.spans:
            region = owner[s.first : s.last + 1, offsets[b] + s.start : offsets[b] + s.end]
            assert not region.any()
            region[:] = number


def buffer_of(row):
    """A buffer of spans, given as (bytes, first task, further tasks)."""
    spans, start = [], 0
    for size, first, more in row:
        spans.append(Span(start, start + size, first, first + more))
        start += size
    last = spans.pop()
    end = -(-last.end // ALIGNMENT) * ALIGNMENT
    return Buffer((*spans, replace(last, end=end)))


JOIN = """\
def main(%x: f32[1,4,4,4]) -> f32[1,16,4,4] {
  %a = softmax(%x) {axis=1} : f32[1,4,4,4]  # "a"
  %b = softmax(%a) {axis=2} : f32[1,4,4,4]  # "b"
  %c = softmax(%b) {axis=3} : f32[1,4,4,4]  # "c"
  %ac = concat(%a, %c) {axis=1} : f32[1,8,4,4]  # "ac"
  %s = slice(%ac) {starts=[0,2,0,0], sizes=[1,4,4,4], steps=[1,1,1,1]} : f32[1,4,4,4]  # "s"
  %t = softmax(%s) {axis=1} : f32[1,4,4,4]  # "t"
  %y = concat(%ac, %t, %x) {axis=1} : f32[1,16,4,4]  # "y"
  %z = softmax(%y) {axis=1} : f32[1,16,4,4]  # "z"
  return %z
}
"""


def test_parts_are_written_where_they_belong_and_read_where_they_lie():
    made, *_ = planned(JOIN)
    places = {t.value: t.arguments for t in made.tasks}
    part = 4 * 4 * 4 * 4
    assert [t.value for t in made.tasks] == ["a", "b", "c", "t", "x.1", "z"]
    start = places["a"][-1].offset
    assert [places[n][-1].offset - start for n in ("a", "c", "t", "x.1")] == [
        0, part, 2 * part, 3 * part,
    ]  # fmt: skip
    assert places["t"][0].offset - start == part // 2
    # b lies where t is still to come
    assert made.arena_bytes == made.arena_lower_bound == 4 * part


def test_a_kernel_writes_its_part_over_the_input_that_dies():
    made, *_ = planned("""\
def main(%x: f32[1,64]) -> f32[1,1] {
  %a = cumsum(%x) {axis=1} : f32[1,64]  # "a"
  %b = cumsum(%a) {axis=1} : f32[1,64]  # "b"
  %r = relu(%a) : f32[1,64]  # "r"
  %c = concat(%b, %r) {axis=1} : f32[1,128]  # "c"
  %s = reduce_sum(%c) {axes=[1]} : f32[1,1]  # "s"
  return %s
}
""")
    assert [t.value for t in made.tasks] == ["a", "b", "r", "s"]
    assert made.tasks[0].arguments[-1] == made.tasks[2].arguments[-1]
    assert made.arena_bytes == made.arena_lower_bound == 512


def test_a_part_in_the_wrong_place_is_refused_by_the_verifier():
    made, function, items = planned(JOIN)
    tasks = list(made.tasks)
    wrong = replace(tasks[2].arguments[-1], offset=tasks[2].arguments[-1].offset + 64)
    tasks[2] = replace(tasks[2], arguments=(*tasks[2].arguments[:-1], wrong))
    with pytest.raises(PlanError, match="not in the arena"):
        verify_plan(replace(made, tasks=tuple(tasks)), function, items)


def test_a_result_may_be_joined_by_its_kernels():
    made, *_ = planned("""\
def main(%x: f32[1,64]) -> f32[128] {
  %a = cumsum(%x) {axis=1} : f32[1,64]  # "a"
  %b = cumsum(%a) {axis=1} : f32[1,64]  # "b"
  %c = concat(%a, %b) {axis=1} : f32[1,128]  # "c"
  %v = reshape(%c) {shape=[128]} : f32[128]  # "v"
  return %v
}
""")
    assert [t.arguments[-1] for t in made.tasks] == [
        Location(Space.OUTPUT), Location(Space.OUTPUT, 256),
    ]  # fmt: skip
    assert made.arena_bytes == 0
