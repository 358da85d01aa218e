"""Which calls share a kernel."""

import pytest

from armlet.compiler.ir import Call
from armlet.compiler.ops import parse
from armlet.compiler.passes.fuse import MAX_POINTERS, fuse


def groups_of(text: str) -> list[str]:
    """Each kernel as the names of its outputs' calls; views in brackets."""
    return [
        f"[{item.output.name}]"
        if isinstance(item, Call)
        else "+".join(c.output.name for c in item.calls)
        for item in fuse(parse(text))
    ]


CONV = """\
const $w : f32[4,4,3,3] = random(1)
const $s : f32[1,4,1,1] = random(2)
def main(%x: f32[1,4,8,8]) -> f32[1,4,8,8] {
"""


def test_elementwise_calls_follow_their_convolution_and_diamonds_close():
    assert groups_of(
        CONV
        + """\
  %c = conv2d(%x, $w) {pads=[1,1,1,1]} : f32[1,4,8,8]  # "l"
  %a = add(%c, $s) : f32[1,4,8,8]  # "l"
  %g = sigmoid(%a) : f32[1,4,8,8]  # "l"
  %m = mul(%a, %g) : f32[1,4,8,8]  # "l"
  %r = add(%m, %x) : f32[1,4,8,8]  # "l"
  return %r
}
"""
    ) == ["c+a+g+m+r"]


def test_a_value_with_readers_in_two_kernels_is_stored_once():
    assert groups_of(
        CONV
        + """\
  %c = conv2d(%x, $w) {pads=[1,1,1,1]} : f32[1,4,8,8]  # "l"
  %a = relu(%c) : f32[1,4,8,8]  # "l"
  %d = conv2d(%a, $w) {pads=[1,1,1,1]} : f32[1,4,8,8]  # "l"
  %r = add(%d, %a) : f32[1,4,8,8]  # "l"
  return %r
}
"""
    ) == ["c+a", "d+r"]


def test_one_kernel_has_one_anchor():
    assert groups_of(
        CONV
        + """\
  %c = conv2d(%x, $w) {pads=[1,1,1,1]} : f32[1,4,8,8]  # "l"
  %d = conv2d(%x, $w) {pads=[2,2,0,0]} : f32[1,4,8,8]  # "l"
  %r = add(%d, %c) : f32[1,4,8,8]  # "l"
  return %r
}
"""
    ) == ["c", "d+r"]


def test_a_result_ends_its_kernel():
    text = (
        CONV.replace("-> f32[1,4,8,8]", "-> (f32[1,4,8,8], f32[1,4,8,8])")
        + """\
  %c = conv2d(%x, $w) {pads=[1,1,1,1]} : f32[1,4,8,8]  # "l"
  %r = relu(%c) : f32[1,4,8,8]  # "l"
  return %r, %c
}
"""
    )
    assert groups_of(text) == ["c", "r"]


def test_moves_join_moves_but_not_convolutions():
    assert groups_of(
        CONV.replace("-> f32[1,4,8,8]", "-> f32[1,8,8,4]")
        + """\
  %c = conv2d(%x, $w) {pads=[1,1,1,1]} : f32[1,4,8,8]  # "l"
  %t = transpose(%c) {perm=[0,2,3,1]} : f32[1,8,8,4]  # "l"
  %r = relu(%t) : f32[1,8,8,4]  # "l"
  return %r
}
"""
    ) == ["c", "t+r"]


def test_a_reduction_takes_its_elementwise_producer_in():
    assert groups_of("""\
def main(%x: f32[8,16]) -> f32[8,1] {
  %e = exp(%x) : f32[8,16]  # "l"
  %s = reduce_sum(%e) {axes=[1]} : f32[8,1]  # "l"
  %y = sqrt(%s) : f32[8,1]  # "l"
  return %y
}
""") == ["e+s+y"]


def test_work_is_not_repeated_for_a_broadcast():
    assert groups_of("""\
def main(%x: f32[8,16], %s: f32[8,1]) -> f32[8,16] {
  %e = exp(%s) : f32[8,1]  # "l"
  %y = mul(%x, %e) : f32[8,16]  # "l"
  return %y
}
""") == ["e", "y"]


def test_views_have_no_kernel():
    assert groups_of("""\
def main(%x: f32[8,16]) -> f32[128] {
  %e = exp(%x) : f32[8,16]  # "l"
  %v = reshape(%e) {shape=[128]} : f32[128]  # "l"
  %y = relu(%v) : f32[128]  # "l"
  return %y
}
""") == ["e", "[v]", "y"]


@pytest.mark.parametrize("count", [MAX_POINTERS - 2, MAX_POINTERS + 20])
def test_a_kernel_takes_a_bounded_number_of_pointers(count):
    params = ", ".join(f"%p{i}: f32[4]" for i in range(count + 1))
    lines = [
        f'  %s{i + 1} = add(%{f"s{i}" if i else "p0"}, %p{i + 1}) : f32[4]  # "l"'
        for i in range(count)
    ]
    text = f"def main({params}) -> f32[4] {{\n" + "\n".join(lines) + f"\n  return %s{count}\n}}\n"
    groups = fuse(parse(text))
    assert max(len(g.inputs) + 1 for g in groups) <= MAX_POINTERS
    assert sum(len(g.calls) for g in groups) == count


def test_what_an_epilogue_reads_elementwise_is_computed_there():
    assert groups_of(
        CONV
        + """\
  %g = mul(%x, $s) : f32[1,4,8,8]  # "l"
  %k = sigmoid(%g) : f32[1,4,8,8]  # "l"
  %c = conv2d(%x, $w) {pads=[1,1,1,1]} : f32[1,4,8,8]  # "l"
  %r = add(%k, %c) : f32[1,4,8,8]  # "l"
  return %r
}
"""
    ) == ["g+k+c+r"]


def test_an_activation_stays_with_its_convolution_before_moves():
    assert groups_of(
        CONV.replace("-> f32[1,4,8,8]", "-> f32[1,8,8,4]")
        + """\
  %c = conv2d(%x, $w) {pads=[1,1,1,1]} : f32[1,4,8,8]  # "l"
  %r = relu(%c) : f32[1,4,8,8]  # "l"
  %a = add(%r, %x) : f32[1,4,8,8]  # "l"
  %t = transpose(%a) {perm=[0,2,3,1]} : f32[1,8,8,4]  # "l"
  return %t
}
"""
    ) == ["c+r+a", "t"]


def test_the_parts_of_a_concatenation_are_computed_in_its_kernel():
    assert groups_of("""\
def main(%x: f32[2,8]) -> f32[2,12] {
  %s = slice(%x) {starts=[0,0], sizes=[2,4], steps=[1,1]} : f32[2,4]  # "l"
  %e = exp(%s) : f32[2,4]  # "l"
  %y = concat(%e, %x) {axis=1} : f32[2,12]  # "l"
  return %y
}
""") == ["s+e+y"]


def test_a_reshape_between_moves_is_done_on_the_way():
    assert groups_of("""\
def main(%x: f32[2,6,4]) -> f32[3,4,2,2] {
  %t = transpose(%x) {perm=[1,2,0]} : f32[6,4,2]  # "l"
  %v = reshape(%t) {shape=[2,3,4,2]} : f32[2,3,4,2]  # "l"
  %u = transpose(%v) {perm=[1,2,3,0]} : f32[3,4,2,2]  # "l"
  return %u
}
""") == ["t+v+u"]


NEAREST = 'mode="nearest", coordinate_mode="asymmetric", nearest_mode="floor"'


def test_nearest_neighbours_are_read_where_they_are_needed():
    assert groups_of(
        """\
const $w : f32[1,1,1,1,4,4] = random(1)
def main(%x: f32[1,1,8,8,4], %y: f32[1,1,4,4,4]) -> f32[1,1,8,8,4] {
  %u = resize(%y) {size=[8,8], scale=[2.0,2.0], NEAREST} : f32[1,1,8,8,4]  # "l"
  %c = conv2d_blocked(%x, $w) {in_channels=4, out_channels=4} : f32[1,1,8,8,4]  # "l"
  %r = add(%c, %u) : f32[1,1,8,8,4]  # "l"
  return %r
}
""".replace("NEAREST", NEAREST)
    ) == ["u+c+r"]


def test_a_convolution_stores_where_depth_to_space_puts_its_pixels():
    head = """\
const $w : f32[4,1,1,1,4,4] = random(1)
const $t : f32[1,1,1,1,4] = random(2)
def main(%x: f32[1,1,3,3,4]) -> f32[1,1,6,6,4] {
  %c = conv2d_blocked(%x, $w) {in_channels=4, out_channels=16} : f32[1,4,3,3,4]  # "l"
  %r = relu(%c) : f32[1,4,3,3,4]  # "l"
  %d = depth_to_space(%r) {blocksize=2} : f32[1,1,6,6,4]  # "l"
  %a = add(%d, $t) : f32[1,1,6,6,4]  # "l"
  return %a
}
"""
    assert groups_of(head) == ["c+r+d+a"]
