"""Which concatenations and slices need no kernel, and where copies remain."""

from armlet.compiler.passes import form_views

from .harness import check_pass

HEAD = "def main(%x: f32[1,4,2,2]) -> "


def test_operands_that_kernels_write_are_joined_and_others_are_copied():
    check_pass(
        form_views.run,
        HEAD + """f32[1,24,2,2] {
  %a = softmax(%x) {axis=1} : f32[1,4,2,2]  # "a"
  %y = concat(%a, %x, %a) {axis=1} : f32[1,12,2,2]  # "y"
  %z = concat(%y, %y) {axis=1} : f32[1,24,2,2]  # "z"
  return %z
}
""",
        HEAD + """f32[1,24,2,2] {
  %a = softmax(%x) {axis=1} : f32[1,4,2,2]  # "a"
  %x.1 = copy(%x) : f32[1,4,2,2]  # "y"
  %a.1 = copy(%a) : f32[1,4,2,2]  # "y"
  %y = concat_view(%a, %x.1, %a.1) {axis=1} : f32[1,12,2,2]  # "y"
  %y.1 = copy(%y) : f32[1,12,2,2]  # "z"
  %z = concat_view(%y, %y.1) {axis=1} : f32[1,24,2,2]  # "z"
  return %z
}
""",
    )  # fmt: skip


def test_a_growing_concatenation_grows_in_place():
    check_pass(
        form_views.run,
        HEAD + """f32[1,12,2,2] {
  %a = softmax(%x) {axis=1} : f32[1,4,2,2]  # "a"
  %b = softmax(%x) {axis=2} : f32[1,4,2,2]  # "b"
  %ab = concat(%a, %b) {axis=1} : f32[1,8,2,2]  # "ab"
  %c = reduce_sum(%ab) {axes=[1]} : f32[1,1,2,2]  # "c"
  %d = expand(%c) {shape=[1,4,2,2]} : f32[1,4,2,2]  # "d"
  %abd = concat(%a, %b, %d) {axis=1} : f32[1,12,2,2]  # "abd"
  return %abd
}
""",
        HEAD + """f32[1,12,2,2] {
  %a = softmax(%x) {axis=1} : f32[1,4,2,2]  # "a"
  %b = softmax(%x) {axis=2} : f32[1,4,2,2]  # "b"
  %ab = concat_view(%a, %b) {axis=1} : f32[1,8,2,2]  # "ab"
  %c = reduce_sum(%ab) {axes=[1]} : f32[1,1,2,2]  # "c"
  %d = expand(%c) {shape=[1,4,2,2]} : f32[1,4,2,2]  # "d"
  %abd = concat_view(%ab, %d) {axis=1} : f32[1,12,2,2]  # "abd"
  return %abd
}
""",
    )  # fmt: skip


def test_slices_of_one_run_of_bytes_are_views_unless_they_are_results():
    text = """(f32[1,2,2,2], f32[8]) {{
  %a = softmax(%x) {{axis=1}} : f32[1,4,2,2]  # "a"
  %s = {0}(%a) {{starts=[0,1,0,0], sizes=[1,2,2,2], steps=[1,1,1,1]}} : f32[1,2,2,2]  # "s"
  %r = relu(%s) : f32[1,2,2,2]  # "r"
  %t = slice(%a) {{starts=[0,2,0,0], sizes=[1,2,2,2], steps=[1,1,1,1]}} : f32[1,2,2,2]  # "t"
  %v = reshape(%t) {{shape=[8]}} : f32[8]  # "v"
  return %r, %v
}}
"""
    check_pass(form_views.run, HEAD + text.format("slice"), HEAD + text.format("slice_view"))


def test_interleaved_and_strided_parts_stay_kernels():
    check_pass(
        form_views.run,
        """def main(%x: f32[2,4]) -> f32[2,6] {
  %a = softmax(%x) {axis=1} : f32[2,4]  # "a"
  %s = slice(%a) {starts=[0,0], sizes=[2,2], steps=[1,1]} : f32[2,2]  # "s"
  %t = slice(%a) {starts=[0,0], sizes=[1,2], steps=[1,2]} : f32[1,2]  # "t"
  %u = add(%s, %t) : f32[2,2]  # "u"
  %y = concat(%u, %a) {axis=1} : f32[2,6]  # "y"
  return %y
}
""",
        unchanged=True,
    )


def test_results_and_parameters_alone_stay_a_kernel():
    check_pass(
        form_views.run,
        HEAD + """(f32[1,4,2,2], f32[1,8,2,2]) {
  %a = softmax(%x) {axis=1} : f32[1,4,2,2]  # "a"
  %y = concat(%a, %x) {axis=1} : f32[1,8,2,2]  # "y"
  return %a, %y
}
""",
        unchanged=True,
    )  # fmt: skip
