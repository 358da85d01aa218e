"""Layout selection: blocked through the convolution family, transforms only at its edges."""

import pytest

from armlet.compiler.ir import print_function, verify
from armlet.compiler.ops import parse
from armlet.compiler.select.layout import select
from armlet.compiler.select.layouts import block_of
from armlet.targets import target

from ..passes.harness import check_meaning_kept

X86 = target("linux-x86_64-v3")


def selected(text: str, lanes: int = 8) -> list[str]:
    """The operators after selection, which must mean the same as before."""
    function = parse(text)
    verify(function)
    assert lanes == X86.lanes
    new = select(function, X86)
    verify(new)
    check_meaning_kept(function, new)
    return [c.op.name for c in new]


def test_blocks_are_vectors_or_the_channels_themselves():
    assert [block_of(c, 16) for c in (1, 3, 4, 5, 8, 9, 16, 24)] == [1, 3, 4, 8, 8, 16, 16, 16]


CHAIN = """\
const $w : f32[{c},3,3,3] = random(1)
const $b : f32[{c}] = random(2)
const $v : f32[5,{c},1,1] = random(3)
const $d : f32[{c},1,3,3] = random(4)
const $s : f32[{c},1,1] = random(5)
def main(%x: f32[2,3,9,7]) -> f32[2,5,5,4] {{
  %1 = conv2d(%x, $w, $b) {{strides=[2,2], pads=[1,1,1,1]}} : f32[2,{c},5,4]  # "1"
  %2 = mul(%1, $s) : f32[2,{c},5,4]  # "2"
  %3 = conv2d(%2, $d) {{pads=[1,1,1,1], group={c}}} : f32[2,{c},5,4]  # "3"
  %4 = add(%3, %1) : f32[2,{c},5,4]  # "4"
  %5 = reduce_mean(%4) {{axes=[2,3]}} : f32[2,{c},1,1]  # "5"
  %6 = sigmoid(%5) : f32[2,{c},1,1]  # "6"
  %7 = mul(%4, %6) : f32[2,{c},5,4]  # "7"
  %8 = conv2d(%7, $v) : f32[2,5,5,4]  # "8"
  return %8
}}
"""


@pytest.mark.parametrize("channels", [2, 8, 12, 17, 24])
def test_transforms_stay_at_the_edges(channels):
    names = selected(CHAIN.format(c=channels))
    assert names == [
        "reshape", "conv2d_blocked", "mul", "depthwise_conv2d_blocked", "add", "reduce_mean",
        "sigmoid", "mul", "conv2d_blocked", "unpack_channels",
    ]  # fmt: skip


def test_a_plain_operator_between_two_convolutions_gets_plain_data():
    names = selected("""\
const $w : f32[8,8,1,1] = random(1)
def main(%x: f32[1,8,4,4]) -> f32[1,8,4,4] {
  %1 = conv2d(%x, $w) : f32[1,8,4,4]  # "1"
  %2 = softmax(%1) {axis=1} : f32[1,8,4,4]  # "2"
  %3 = conv2d(%2, $w) : f32[1,8,4,4]  # "3"
  return %3
}
""")
    assert names == [
        "pack_channels", "conv2d_blocked", "unpack_channels", "softmax", "pack_channels",
        "conv2d_blocked", "unpack_channels",
    ]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), [(8, 16), (12, 8), (3, 5), (24, 1)])
def test_channels_are_joined_in_blocks(a, b):
    names = selected(f"""\
const $v : f32[{a},3,1,1] = random(1)
const $w : f32[{b},3,1,1] = random(2)
const $u : f32[4,{a + b},1,1] = random(3)
def main(%x: f32[1,3,4,4]) -> f32[1,4,4,4] {{
  %1 = conv2d(%x, $v) : f32[1,{a},4,4]  # "1"
  %2 = conv2d(%x, $w) : f32[1,{b},4,4]  # "2"
  %3 = concat(%1, %2) {{axis=1}} : f32[1,{a + b},4,4]  # "3"
  %4 = conv2d(%3, $u) : f32[1,4,4,4]  # "4"
  return %4
}}
""")
    whole = a % 8 == 0 and b % 8 == 0
    assert names[3] == ("concat" if whole else "concat_blocked")
    assert names.count("unpack_channels") == 1


@pytest.mark.parametrize(
    ("channels", "out", "group"), [(16, 16, 2), (12, 24, 3), (12, 12, 6), (6, 18, 6), (10, 10, 2)]
)
def test_grouped_convolutions_keep_their_meaning(channels, out, group):
    selected(f"""\
const $w : f32[{out},{channels // group},3,3] = random(1)
def main(%x: f32[1,{channels},5,5]) -> f32[1,{out},5,5] {{
  %1 = conv2d(%x, $w) {{pads=[1,1,1,1], group={group}}} : f32[1,{out},5,5]  # "1"
  return %1
}}
""")


def test_a_dense_layer_is_packed():
    function = parse("""\
const $w : f32[5,11] = random(1)
def main(%x: f32[2,3,5]) -> f32[2,3,11] {
  %1 = matmul(%x, $w) : f32[2,3,11]  # "1"
  return %1
}
""")
    new = select(function, X86)
    check_meaning_kept(function, new)
    assert 'matmul_packed(%x, $"w@packed") {columns=11}' in print_function(new)


def test_weights_that_are_not_constant_stay_plain():
    names = selected("""\
def main(%x: f32[1,3,4,4], %w: f32[2,3,1,1]) -> f32[1,2,4,4] {
  %1 = conv2d(%x, %w) : f32[1,2,4,4]  # "1"
  return %1
}
""")
    assert names == ["conv2d"]


@pytest.mark.parametrize("out", [1, 3, 8, 12, 17])
@pytest.mark.parametrize(
    ("kernel", "size", "attributes"),
    [
        ("2,2", "6,10", "strides=[2,2]"),
        ("3,3", "6,10", "strides=[2,2], pads=[1,1,1,1], output_padding=[1,1]"),
        ("4,4", "6,10", "strides=[2,2], pads=[1,1,1,1]"),
    ],
)
def test_a_transposed_convolution_is_a_convolution_and_a_shuffle(out, kernel, size, attributes):
    names = selected(f"""\
const $w : f32[4,{out},{kernel}] = random(1)
const $b : f32[{out}] = random(2)
const $v : f32[2,{out},1,1] = random(3)
def main(%x: f32[1,4,3,5]) -> f32[1,2,{size}] {{
  %y = conv_transpose2d(%x, $w, $b) {{{attributes}}} : f32[1,{out},{size}]  # "up"
  %r = relu(%y) : f32[1,{out},{size}]  # "r"
  %z = conv2d(%r, $v) : f32[1,2,{size}]  # "next"
  return %z
}}
""")
    assert "conv_transpose2d" not in names
    if out >= 8:
        assert names.count("pack_channels") == 1


@pytest.mark.parametrize("attributes", ["strides=[1,1]", "strides=[2,1]", "group=2"])
def test_other_transposed_convolutions_stay(attributes):
    sizes = {"strides=[1,1]": "4,6", "strides=[2,1]": "6,6", "group=2": "4,6"}
    out = 6 if "group" in attributes else 3
    names = selected(f"""\
const $w : f32[4,3,2,2] = random(1)
def main(%x: f32[2,4,3,5]) -> f32[2,{out},{sizes[attributes]}] {{
  %y = conv_transpose2d(%x, $w) {{{attributes}}} : f32[2,{out},{sizes[attributes]}]  # "up"
  return %y
}}
""")
    assert names == ["conv_transpose2d"]
