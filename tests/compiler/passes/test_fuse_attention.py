"""fuse_attention: what exporters write for attention, and what only looks like it."""

import pytest

from armlet.compiler.passes import fuse_attention, simplify

from .harness import check_pass

HEADS = """\
const $s : f32[] = [0.25]
def main(%a: f32[1,5,2,4], %b: f32[1,7,2,4], %c: f32[1,7,2,3], %m: f32[1,1,5,7]) -> f32[1,5,2,3] {
  %q = transpose(%a) {perm=[0,2,1,3]} : f32[1,2,5,4]  # "q"
  %k = transpose(%b) {perm=[0,2,3,1]} : f32[1,2,4,7]  # "k"
  %v = transpose(%c) {perm=[0,2,1,3]} : f32[1,2,7,3]  # "v"
"""
TAIL = """\
  %w = softmax(%t) : f32[1,2,5,7]  # "w"
  %o = matmul(%w, %v) : f32[1,2,5,3]  # "o"
  %y = transpose(%o) {perm=[0,2,1,3]} : f32[1,5,2,3]  # "y"
  return %y
}
"""
HEAD = HEADS.split("\n")[1]


def run(function):
    return simplify.run(fuse_attention.run(function))


def spelt(*lines, tail=TAIL):
    return HEADS + "".join(f'  {line}  # "l"\n' for line in lines) + tail


def fused(call):
    return f'{HEAD}\n  %y = {call} : f32[1,5,2,3]  # "o"\n  return %y\n}}\n'


@pytest.mark.parametrize(
    ("lines", "call"),
    [
        (["%t = matmul(%q, %k) : f32[1,2,5,7]"], "attention(%a, %b, %c)"),
        (["%p = matmul(%q, %k) : f32[1,2,5,7]", "%t = mul(%p, $s) : f32[1,2,5,7]"],
         "attention(%a, %b, %c) {scale=0.25}"),
        (["%r = mul(%q, $s) : f32[1,2,5,4]", "%n = mul($s, %k) : f32[1,2,4,7]",
          "%t = matmul(%r, %n) : f32[1,2,5,7]"], "attention(%a, %b, %c) {scale=0.0625}"),
        (["%p = matmul(%q, %k) : f32[1,2,5,7]", "%n = mul(%p, $s) : f32[1,2,5,7]",
          "%t = add(%m, %n) : f32[1,2,5,7]"], "attention(%a, %b, %c, %m) {scale=0.25}"),
    ],
)  # fmt: skip
def test_attention_of_interleaved_heads_is_recognised(lines, call):
    check_pass(run, spelt(*lines), fused(call))


def test_scores_with_a_second_reader_stay():
    both = spelt("%t = matmul(%q, %k) : f32[1,2,5,7]")
    both = both.replace("-> f32[1,5,2,3]", "-> (f32[1,5,2,3], f32[1,2,5,7])")
    check_pass(fuse_attention.run, both.replace("return %y", "return %y, %t"), unchanged=True)


def test_softmax_over_queries_is_no_attention():
    lines = ["%t = matmul(%q, %k) : f32[1,2,5,7]"]
    tail = TAIL.replace("softmax(%t)", "softmax(%t) {axis=2}")
    check_pass(fuse_attention.run, spelt(*lines, tail=tail), unchanged=True)


def test_separate_heads_become_batches():
    check_pass(
        run,
        """\
def main(%q: f32[3,5,4], %b: f32[3,7,4], %v: f32[3,7,4]) -> f32[3,5,4] {
  %k = transpose(%b) {perm=[0,2,1]} : f32[3,4,7]  # "k"
  %t = matmul(%q, %k) : f32[3,5,7]  # "t"
  %w = softmax(%t) : f32[3,5,7]  # "w"
  %y = matmul(%w, %v) : f32[3,5,4]  # "y"
  return %y
}
""",
        """\
def main(%q: f32[3,5,4], %b: f32[3,7,4], %v: f32[3,7,4]) -> f32[3,5,4] {
  %1 = reshape(%q) {shape=[3,5,1,4]} : f32[3,5,1,4]  # "y"
  %2 = reshape(%b) {shape=[3,7,1,4]} : f32[3,7,1,4]  # "y"
  %3 = reshape(%v) {shape=[3,7,1,4]} : f32[3,7,1,4]  # "y"
  %4 = attention(%1, %2, %3) : f32[3,5,1,4]  # "y"
  %y = reshape(%4) {shape=[3,5,4]} : f32[3,5,4]  # "y"
  return %y
}
""",
    )
