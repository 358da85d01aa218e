"""Regions: as large as they get, without a cycle through the outside."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armlet.compiler.ir import Builder, TensorType
from armlet.compiler.ops import parse
from armlet.compiler.ops.activation import Relu
from armlet.compiler.ops.binary import Add
from armlet.compiler.partition.regions import Quotient, grow


def regions_of(text: str, taken: str) -> list[str]:
    """The regions' values, of those calls that are taken by the names of their values."""
    lines = "\n".join(f'  {line} : f32[4]  # "s"' for line in text.strip().splitlines())
    last = text.strip().splitlines()[-1].split()[0]
    function = parse(f"def main(%x: f32[4]) -> f32[4] {{\n{lines}\n  return {last}\n}}\n")
    quotient = Quotient(function)
    nodes = grow(quotient, [(c,) for c in function if c.output.name in taken])
    return sorted("".join(c.output.name for c in quotient.of(n)) for n in nodes)


CHAIN = "%a = relu(%x)\n%b = relu(%a)\n%c = relu(%b)\n%d = relu(%c)"
DIAMOND = "%a = relu(%x)\n%b = relu(%a)\n%c = relu(%a)\n%d = add(%b, %c)"
#: two pairs, each of which waits for the other as soon as it is one
CROSS = "%a = relu(%x)\n%b = relu(%x)\n%c = add(%a, %b)\n%p = relu(%c)\n%d = add(%a, %p)"


@pytest.mark.parametrize(
    "text, taken, found",
    [
        (CHAIN, "abcd", ["abcd"]),
        (CHAIN, "abd", ["ab", "d"]),
        (CHAIN, "", []),
        (DIAMOND, "abcd", ["abcd"]),
        (DIAMOND, "abd", ["ab", "d"]),
        (DIAMOND, "bcd", ["bcd"]),
        (CROSS, "ad", ["a", "d"]),
        (CROSS, "acpd", ["acpd"]),
    ],
)
def test_connected_calls_are_one_region_where_no_path_leaves_it(text, taken, found):
    assert regions_of(text, taken) == found


def test_two_regions_never_wait_for_one_another():
    #: {a, d} and {b, c} are convex each, and together a cycle
    text = "%a = relu(%x)\n%b = relu(%x)\n%q = relu(%a)\n%c = add(%b, %q)\n"
    text += "%r = relu(%b)\n%d = add(%a, %r)\n%e = add(%c, %d)"
    assert regions_of(text, "abcd") in (["a", "bc", "d"], ["ad", "b", "c"])


def graph(draw) -> object:
    b = Builder()
    values = [b.param("x", TensorType((4,)))]
    for _ in range(draw(st.integers(1, 18))):
        pick = st.sampled_from(values[-6:])
        op, count = draw(st.sampled_from([(Relu(), 1), (Add(), 2)]))
        values.append(b.call(op, *(draw(pick) for _ in range(count)), source="s"))
    return b.function([values[0]], [values[-1]])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_regions_of_random_graphs_can_be_put_in_order(data):
    function = graph(data.draw)
    taken = [c for c in function if data.draw(st.booleans())]
    quotient = Quotient(function)
    regions = grow(quotient, [(c,) for c in taken])
    assert sorted(str(c.output) for n in regions for c in quotient.of(n)) == sorted(
        str(c.output) for c in taken
    )
    known = set(function.params)
    for node in quotient.order():
        calls = quotient.of(node)
        made = {c.output for c in calls}
        for call in calls:
            assert all(v in known or v in made for v in call.operands)
        known |= made
    for a in regions:  # none could have been larger
        for b in regions:
            touch = any(quotient.node[p] == b for c in quotient.of(a) for p in quotient.direct[c])
            assert a == b or not touch or not quotient.can_join(a, b)
