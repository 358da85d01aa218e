"""The text form: what is printed parses back to the same thing, and errors name the line."""

import numpy as np
import pytest

from armlet.compiler.ir import Builder, Const, TensorType, print_function, structural_equal
from armlet.compiler.ops import OPERATORS, parse
from armlet.compiler.ops.registry import Sample

TEXT = """\
const $w : f32[8,3,3,3] = random(1)
const $b : f32[8] = [0.0, 1.0, -2.5, 0.1, 1e-07, inf, 3.0, 4.0]
const "$odd name/0" : i64[] = [7]
def main(%x: f32[N,3,8,8], %"in:0": f32[1,8,1,1]) -> (f32[N,8,8,8], f32[N,8,8,8]) {
  %1 = conv2d(%x, $w, $b) {pads=[1,1,1,1]} : f32[N,8,8,8]  # "features.0"
  %y = clip(%1) {min=0.0, max=6.0} : f32[N,8,8,8]  # "act \\"6\\""
  %z = mul(%y, %"in:0") : f32[N,8,8,8]  # "scale"
  return %z, %y
}
""".replace('const "$odd name/0" : i64[] = [7]\n', "")


def test_printing_and_parsing_come_back_to_the_same_text():
    function = parse(TEXT)
    data = {c.name: c.data for c in function.constants}
    text = print_function(function)
    assert print_function(parse(text, data)) == text
    assert structural_equal(function, parse(text, data))


def test_names_of_any_characters_survive():
    b = Builder(source="layer")
    x = b.param('a b/"c"\\:0%$#', TensorType((2,)))
    y = b.call(OPERATORS["relu"](), x, name="größe")
    text = print_function(b.function([x], [y]))
    again = parse(text)
    assert [again.params[0].name, again.results[0].name] == [x.name, "größe"]


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_every_operator_round_trips(name):
    sample: Sample = next(iter(OPERATORS[name].samples()))
    b = Builder(source="s")
    params = [b.param(f"p{i}", TensorType.of(a)) for i, a in enumerate(sample.operands)]
    outputs = b.multi(sample.op, *params)
    function = b.function(params, outputs)
    text = print_function(function)
    assert parse(text).bindings[0].op == sample.op
    assert print_function(parse(text)) == text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("  %1 = relu(%nope) : f32[1]", "not defined before its use"),
        ("  %1 = frobnicate(%x) : f32[1]", "unknown operator 'frobnicate'"),
        ("  %1 = relu(%x) : q7[1]", "unknown dtype 'q7'"),
        ("  %1 = relu(%x) {alpha=1} : f32[1]", "alpha"),
        ("  %1 = relu(%x", "expected"),
        ("  ?", "unexpected"),
    ],
)
def test_errors_name_the_line(line, message):
    text = "def main(%x: f32[1]) -> f32[1] {\n" + line + "\n  return %x\n}\n"
    with pytest.raises(SyntaxError, match=f"(?s)line 2.*{message}"):
        parse(text)


def test_a_large_constant_needs_its_data():
    function = parse(
        "const $w : f32[100] = random(0)\n"
        "def main(%x: f32[100]) -> f32[100] {\n"
        '  %y = add(%x, $w) : f32[100]  # "a"\n  return %y\n}\n'
    )
    text = print_function(function)
    with pytest.raises(SyntaxError, match="give its data"):
        parse(text)
    assert isinstance(parse(text, {"w": np.zeros(100, "f")}).constants[0], Const)
