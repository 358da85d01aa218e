"""store_half: weights in float16, one conversion for each kernel that reads them."""

from armlet.compiler.ir.group import Group
from armlet.compiler.ops import parse
from armlet.compiler.passes.fuse import fuse
from armlet.compiler.passes.store_half import store_half

from .harness import check_pass

MODEL = """\
const $w : f32[8,256] = random(1)
const $c : f32[8] = random(2)
def main(%x: f32[2,8]) -> (f32[2,256], f32[2,256]) {
  %a = add(%x, $c) : f32[2,8]  # "a"
  %y = matmul(%a, $w) : f32[2,256]  # "y"
  %z = matmul(%x, $w) : f32[2,256]  # "z"
  return %y, %z
}
"""


def test_large_constants_become_half():
    check_pass(
        store_half,
        MODEL,
        """\
const $c : f32[8] = random(2)
const $"w@float16" : f16[8,256] = random(1)
def main(%x: f32[2,8]) -> (f32[2,256], f32[2,256]) {
  %a = add(%x, $c) : f32[2,8]  # "a"
  %w.1 = cast($"w@float16") {to="float32"} : f32[8,256]  # "y"
  %y = matmul(%a, %w.1) : f32[2,256]  # "y"
  %w.2 = cast($"w@float16") {to="float32"} : f32[8,256]  # "z"
  %z = matmul(%x, %w.2) : f32[2,256]  # "z"
  return %y, %z
}
""",
        tolerance=2e-3,
    )


def test_conversions_are_in_the_kernels_that_read_them():
    groups = fuse(store_half(parse(MODEL)))
    assert [g.op_names for g in groups if isinstance(g, Group)] == [
        "add",
        "cast+matmul",
        "cast+matmul",
    ]


def test_small_constants_stay():
    check_pass(store_half, MODEL.replace("8,256", "8,4").replace("2,256", "2,4"), unchanged=True)
