"""Functions cut into parts, changed part by part, and whole again."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from armlet.compiler.ir import print_function, verify
from armlet.compiler.ops import parse
from armlet.compiler.ops.interpreter import evaluate
from armlet.compiler.partition.parts import cut
from armlet.compiler.passes import form_views, separate_results
from armlet.compiler.records import Records
from armlet.compiler.select.layout import select
from armlet.targets import target

from ..plan.test_random_plans import Grower

TEXT = """\
def main(%x: f32[1,16,4,4]) -> f32[1,16,4,4] {
  %a = relu(%x) : f32[1,16,4,4]  # "a"
  %b = tanh(%a) : f32[1,16,4,4]  # "b"
  %c = add(%b, %a) : f32[1,16,4,4]  # "c"
  return %c
}
"""


def test_a_part_reads_what_others_make_and_makes_what_others_read():
    function = parse(TEXT)
    a, b, c = function.bindings
    parts = cut(function, [([a], None), ([b], "npu"), ([c], None)])
    assert [(p.region, [*map(str, p.inputs)], [*map(str, p.outputs)]) for p in parts.parts] == [
        (None, ["%x"], ["%a"]),
        ("npu", ["%a"], ["%b"]),
        (None, ["%b", "%a"], ["%c"]),
    ]
    assert print_function(parts.function) == TEXT


def test_neighbours_without_a_mark_are_one_part():
    function = parse(TEXT)
    parts = cut(function, [([c], None) for c in function])
    assert len(parts.parts) == 1
    assert parts.parts[0].outputs == function.results


def test_a_region_of_everything_has_its_results_in_the_order_of_its_calls():
    """As its program has them, whatever the order of the function's results."""
    text = TEXT.replace("-> f32[1,16,4,4] {", "-> (f32[1,16,4,4], f32[1,16,4,4]) {")
    function = parse(text.replace("return %c", "return %c, %b"))
    parts = cut(function, [(function.bindings, "npu")])
    for made in (parts, parts.apply(lambda f: f)):
        assert [*map(str, made.parts[0].outputs)] == ["%b", "%c"]
        assert [*map(str, made.function.results)] == ["%c", "%b"]


def test_values_keep_their_names_across_parts_and_new_ones_are_unique():
    function = parse(TEXT)
    a, b, c = function.bindings
    parts = cut(function, [([a], None), ([b], "npu"), ([c], None)])
    after = parts.apply(lambda f: select(f, target("linux-x86_64-v4"), Records())).function
    verify(after)
    assert {"a", "b", "c"} <= {v.name for call in after for v in call.outputs}


def test_a_regions_result_that_is_what_it_reads_becomes_a_copy():
    function = parse(
        """\
def main(%x: f32[4]) -> (f32[2,2], f32[2,2]) {
  %a = relu(%x) : f32[4]  # "a"
  %b = reshape(%a) {shape=[2,2]} : f32[2,2]  # "b"
  %c = tanh(%b) : f32[2,2]  # "c"
  %d = add(%b, %b) : f32[2,2]  # "d"
  return %c, %d
}
"""
    )
    a, b, c, d = function.bindings
    parts = cut(function, [([a], None), ([b, c], "npu"), ([d], None)]).apart()
    verify(parts.function)
    assert [call.op.name for call in parts.parts[1].calls] == ["reshape", "tanh", "copy"]


@settings(max_examples=30, deadline=None)
@given(st.data(), st.integers(2, 10))
def test_parts_of_random_functions_mean_the_same(data, steps):
    grower = Grower(lambda options: data.draw(st.sampled_from(options)))
    for _ in range(steps):
        grower.step()
    before = separate_results.run(grower.function())
    marks = [([c], data.draw(st.sampled_from([None, "npu"]))) for c in before]
    parts = cut(before, marks).apply(form_views.run)
    after = parts.function
    verify(after)
    rng = np.random.default_rng(0)
    feeds = {p.name: rng.standard_normal(p.type.shape).astype("f") for p in before.params}
    for found, right in zip(evaluate(after, feeds), evaluate(before, feeds), strict=True):
        np.testing.assert_array_equal(found, right)
    for part in parts.parts:
        assert len(part.function.results) == len(part.outputs)
