"""fold_constants, fold_batch_norm, fold_scale, fold_pad: work moves to compile time."""

from armlet.compiler.passes import fold_batch_norm, fold_constants, fold_pad, fold_scale

from .harness import check_pass

CONV = """\
const $w : f32[4,3,3,3] = random(1)
const $b : f32[4] = random(2)
const $s : f32[1,4,1,1] = random(3)
const $t : f32[4,1,1] = random(4)
"""


def test_constants_are_evaluated():
    check_pass(
        fold_constants.run,
        """\
const $a : f32[3] = [1.0, 2.0, 3.0]
const $b : f32[3] = [4.0, 5.0, 6.0]
def main(%x: f32[3]) -> f32[3] {
  %c = add($a, $b) : f32[3]  # "c"
  %y = mul(%x, %c) : f32[3]  # "y"
  return %y
}
""",
        """\
const $c : f32[3] = [5.0, 7.0, 9.0]
def main(%x: f32[3]) -> f32[3] {
  %y = mul(%x, $c) : f32[3]  # "y"
  return %y
}
""",
    )


def test_a_constant_that_would_grow_much_is_not_evaluated():
    check_pass(
        fold_constants.run,
        """\
const $a : f32[] = [1.0]
def main(%x: f32[1000,1000]) -> f32[1000,1000] {
  %c = expand($a) {shape=[1000,1000]} : f32[1000,1000]  # "c"
  %y = mul(%x, %c) : f32[1000,1000]  # "y"
  return %y
}
""",
        unchanged=True,
    )


def test_batch_norm_becomes_scale_and_shift():
    check_pass(
        fold_batch_norm.run,
        """\
const $scale : f32[3] = random(1)
const $b : f32[3] = random(2)
const $mean : f32[3] = random(3)
const $var : f32[3] = [0.5, 1.0, 2.0]
def main(%x: f32[1,3,2,2]) -> f32[1,3,2,2] {
  %y = batch_norm(%x, $scale, $b, $mean, $var) {epsilon=0.001} : f32[1,3,2,2]  # "bn"
  return %y
}
""",
        """\
const $s : f32[1,3,1,1] = [1.0, 1.0, 1.0]
const $t : f32[1,3,1,1] = [1.0, 1.0, 1.0]
def main(%x: f32[1,3,2,2]) -> f32[1,3,2,2] {
  %1 = mul(%x, $s) : f32[1,3,2,2]  # "bn"
  %y = add(%1, $t) : f32[1,3,2,2]  # "bn"
  return %y
}
""",
    )


def test_scale_and_shift_fold_into_the_convolution_before_them():
    check_pass(
        fold_scale.run,
        CONV
        + """\
def main(%x: f32[1,3,5,5]) -> f32[1,4,3,3] {
  %1 = conv2d(%x, $w) : f32[1,4,3,3]  # "conv"
  %2 = mul(%1, $s) : f32[1,4,3,3]  # "bn"
  %3 = add($t, %2) : f32[1,4,3,3]  # "bn"
  return %3
}
""",
        """\
const $w : f32[4,3,3,3] = random(1)
const $b : f32[4] = random(2)
def main(%x: f32[1,3,5,5]) -> f32[1,4,3,3] {
  %3 = conv2d(%x, $w, $b) : f32[1,4,3,3]  # "conv"
  return %3
}
""",
    )


def test_a_scalar_scale_folds_into_weights_and_bias():
    check_pass(
        fold_scale.run,
        CONV
        + """\
const $half : f32[] = [0.5]
def main(%x: f32[1,3,5,5]) -> f32[1,4,3,3] {
  %1 = conv2d(%x, $w, $b) : f32[1,4,3,3]  # "conv"
  %2 = mul(%1, $half) : f32[1,4,3,3]  # "scale"
  return %2
}
""",
        """\
const $w : f32[4,3,3,3] = random(1)
const $b : f32[4] = random(2)
def main(%x: f32[1,3,5,5]) -> f32[1,4,3,3] {
  %2 = conv2d(%x, $w, $b) : f32[1,4,3,3]  # "conv"
  return %2
}
""",
    )


def test_a_scale_with_a_second_reader_stays():
    check_pass(
        fold_scale.run,
        CONV
        + """\
def main(%x: f32[1,3,5,5]) -> (f32[1,4,3,3], f32[1,4,3,3]) {
  %1 = conv2d(%x, $w, $b) : f32[1,4,3,3]  # "conv"
  %2 = mul(%1, $s) : f32[1,4,3,3]  # "bn"
  return %2, %1
}
""",
        unchanged=True,
    )


def test_a_scale_along_another_axis_stays():
    check_pass(
        fold_scale.run,
        CONV
        + """\
const $row : f32[1,1,1,3] = [1.0, 2.0, 3.0]
def main(%x: f32[1,3,5,5]) -> f32[1,4,3,3] {
  %1 = conv2d(%x, $w, $b) : f32[1,4,3,3]  # "conv"
  %2 = mul(%1, $row) : f32[1,4,3,3]  # "columns"
  return %2
}
""",
        unchanged=True,
    )


def test_a_scale_of_the_input_folds_into_grouped_weights():
    check_pass(
        fold_scale.run,
        """\
const $w : f32[6,2,3,3] = random(1)
const $s : f32[1,4,1,1] = random(3)
def main(%x: f32[1,4,5,5]) -> f32[1,6,5,5] {
  %1 = mul(%x, $s) : f32[1,4,5,5]  # "scale"
  %2 = conv2d(%1, $w) {pads=[1,1,1,1], group=2} : f32[1,6,5,5]  # "conv"
  return %2
}
""",
        """\
const $w : f32[6,2,3,3] = random(1)
def main(%x: f32[1,4,5,5]) -> f32[1,6,5,5] {
  %2 = conv2d(%x, $w) {pads=[1,1,1,1], group=2} : f32[1,6,5,5]  # "conv"
  return %2
}
""",
    )


def test_a_shift_of_the_input_stays_before_the_padding():
    check_pass(
        fold_scale.run,
        """\
const $w : f32[6,4,3,3] = random(1)
const $t : f32[1,4,1,1] = random(3)
def main(%x: f32[1,4,5,5]) -> f32[1,6,5,5] {
  %1 = add(%x, $t) : f32[1,4,5,5]  # "shift"
  %2 = conv2d(%1, $w) {pads=[1,1,1,1]} : f32[1,6,5,5]  # "conv"
  return %2
}
""",
        unchanged=True,
    )


def test_scale_folds_into_a_grouped_transposed_convolution():
    check_pass(
        fold_scale.run,
        """\
const $w : f32[4,3,2,2] = random(1)
const $s : f32[1,6,1,1] = random(3)
def main(%x: f32[1,4,3,3]) -> f32[1,6,6,6] {
  %1 = conv_transpose2d(%x, $w) {strides=[2,2], group=2} : f32[1,6,6,6]  # "up"
  %2 = mul(%1, $s) : f32[1,6,6,6]  # "bn"
  return %2
}
""",
        """\
const $w : f32[4,3,2,2] = random(1)
const $b : f32[6] = random(2)
def main(%x: f32[1,4,3,3]) -> f32[1,6,6,6] {
  %2 = conv_transpose2d(%x, $w) {strides=[2,2], group=2} : f32[1,6,6,6]  # "up"
  return %2
}
""",
    )


def test_scale_folds_into_a_matmul():
    check_pass(
        fold_scale.run,
        """\
const $w : f32[4,3] = random(1)
const $s : f32[3] = random(3)
def main(%x: f32[2,5,4]) -> f32[2,5,3] {
  %1 = matmul(%x, $w) : f32[2,5,3]  # "dense"
  %2 = mul(%1, $s) : f32[2,5,3]  # "scale"
  return %2
}
""",
        """\
const $w : f32[4,3] = random(1)
def main(%x: f32[2,5,4]) -> f32[2,5,3] {
  %2 = matmul(%x, $w) : f32[2,5,3]  # "scale"
  return %2
}
""",
    )


PAD = """\
const $w : f32[2,3,3,3] = random(1)
def main(%x: f32[1,3,4,4]) -> f32[1,2,5,6] {{
  %1 = pad(%x) {{before=[0,0,1,2], after=[0,0,2,2]{more}}} : f32[1,3,7,8]  # "pad"
  %2 = conv2d(%1, $w) : f32[1,2,5,6]  # "conv"
  return %2
}}
"""


def test_padding_with_zeros_folds_into_the_convolution():
    check_pass(
        fold_pad.run,
        PAD.format(more=""),
        """\
const $w : f32[2,3,3,3] = random(1)
def main(%x: f32[1,3,4,4]) -> f32[1,2,5,6] {
  %2 = conv2d(%x, $w) {pads=[1,2,2,2]} : f32[1,2,5,6]  # "conv"
  return %2
}
""",
    )


def test_padding_with_other_values_stays():
    check_pass(fold_pad.run, PAD.format(more=", value=1.0"), unchanged=True)
    check_pass(fold_pad.run, PAD.format(more=', mode="reflect"'), unchanged=True)


def test_padding_of_channels_stays():
    check_pass(
        fold_pad.run,
        """\
const $w : f32[2,4,3,3] = random(1)
def main(%x: f32[1,3,4,4]) -> f32[1,2,2,2] {
  %1 = pad(%x) {before=[0,1,0,0], after=[0,0,0,0]} : f32[1,4,4,4]  # "pad"
  %2 = conv2d(%1, $w) : f32[1,2,2,2]  # "conv"
  return %2
}
""",
        unchanged=True,
    )
