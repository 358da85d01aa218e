"""The global choice: the cheapest set of forms, by records where they are, else by estimates."""

from armlet.compiler.ops import parse
from armlet.compiler.records import Record, Records
from armlet.compiler.select.choose import choose
from armlet.compiler.select.cost import Costs
from armlet.compiler.select.forms import forms
from armlet.targets import target

X86 = target("linux-x86_64-v3")

STEM = parse("""\
const $w : f32[16,3,3,3] = random(1)
def main(%x: f32[1,3,9,9]) -> f32[1,16,5,5] {
  %1 = conv2d(%x, $w) {strides=[2,2], pads=[1,1,1,1]} : f32[1,16,5,5]  # "1"
  return %1
}
""")


def workload(form):
    """The text of a form's workload."""
    call = STEM.bindings[0]
    found = []

    class Spy(Records):
        def seconds(self, text, target):
            found.append(text)
            return None

    Costs(X86, Spy(), [(call, form)])
    return found[0]


def record(form, seconds):
    return Record(
        X86.fingerprint, workload(form), "conv2d_direct", 1, {}, seconds, default=2 * seconds
    )


def test_a_transform_that_can_be_saved_is_saved():
    (form,) = choose(STEM, X86, Records()).values()
    assert form.operands == (1,)


def test_records_overrule_estimates():
    own, single = forms(STEM.bindings[0], X86)
    assert (own.operands, single.operands) == ((3,), (1,))
    records = Records([record(own, 1e-6), record(single, 1e-3)])
    (form,) = choose(STEM, X86, records).values()
    assert form.operands == (3,)


def test_estimates_are_scaled_to_records():
    call = STEM.bindings[0]
    own, single = forms(call, X86)
    alone = Costs(X86, Records(), [])
    known = Costs(X86, Records([record(own, 1e-6)]), [(call, own), (call, single)])
    assert abs(known.form(call, own) / alone.form(call, own) - 1) < 1e-9
    assert known.form(call, single) == alone.form(call, single)


def test_a_value_for_readers_of_both_layouts_is_transformed_once():
    function = parse("""\
const $w : f32[8,8,1,1] = random(1)
def main(%x: f32[1,8,4,4]) -> (f32[1,8,4,4], f32[1,8,4,4], f32[1,8,4,4]) {
  %1 = conv2d(%x, $w) : f32[1,8,4,4]  # "1"
  %2 = softmax(%1) {axis=1} : f32[1,8,4,4]  # "2"
  %3 = softmax(%1) {axis=2} : f32[1,8,4,4]  # "3"
  %4 = conv2d(%1, $w) : f32[1,8,4,4]  # "4"
  return %2, %3, %4
}
""")
    chosen = choose(function, X86, Records())
    results = [chosen[c].result for c in function.bindings]
    assert results == [8, 0, 0, 8]
