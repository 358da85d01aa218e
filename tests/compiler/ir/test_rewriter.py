"""Patterns match what they say; rewriting keeps names, sources and order."""

from armlet.compiler.ir import Rules, any_, call, const, print_function, rewrite, scalar, verify
from armlet.compiler.ops import OPERATORS, parse

Relu, Add = OPERATORS["relu"], OPERATORS["add"]


def test_the_replacement_keeps_the_name_and_the_source():
    rules = Rules()
    rules.add(call("mul", any_("x"), scalar("two", 2.0)))(
        lambda m, b: b.call(Add(), m["x"], m["x"])
    )
    function = parse("""\
const $c : f32[] = [2.0]
def main(%x: f32[2]) -> f32[2] {
  %doubled = mul(%x, $c) : f32[2]  # "layer"
  return %doubled
}
""")
    new = rewrite(function, rules)
    verify(new)
    assert '%doubled = add(%x, %x) : f32[2]  # "layer"' in print_function(new)


def test_a_chain_rewrites_to_its_end():
    rules = Rules()
    rules.add(call("relu", call("relu", any_("x"))))(lambda m, b: b.call(Relu(), m["x"]))
    lines = [f'  %{i + 1} = relu(%{i}) : f32[2]  # "r{i}"' for i in range(50)]
    function = parse(
        "def main(%0: f32[2]) -> f32[2] {\n" + "\n".join(lines) + "\n  return %50\n}\n"
    )
    new = rewrite(function, rules)
    verify(new)
    assert len(new.bindings) == 1
    assert new.results[0].name == "50"


def test_a_second_reader_stops_a_rule_that_wants_one():
    rules = Rules()
    seen = []
    pattern = call("add", call("relu", any_("x"), single_reader=True), const("c"))
    rules.add(pattern)(lambda m, b: seen.append(m))
    rewrite(
        parse("""\
const $c : f32[] = [2.0]
def main(%x: f32[2]) -> (f32[2], f32[2]) {
  %r = relu(%x) : f32[2]  # "r"
  %y = add(%r, $c) : f32[2]  # "a"
  return %y, %r
}
"""),
        rules,
    )
    assert seen == []


def test_a_commutative_pattern_matches_both_orders():
    rules = Rules()
    rules.add(call("mul", any_("x"), scalar("one", 1.0), commutative=True))(lambda m, b: m["x"])
    for operands in ("%x, $c", "$c, %x"):
        function = parse(f"""\
const $c : f32[] = [1.0]
def main(%x: f32[2]) -> f32[2] {{
  %y = mul({operands}) : f32[2]  # "m"
  return %y
}}
""")
        assert rewrite(function, rules).results == function.params


def test_the_same_name_twice_is_the_same_value():
    rules = Rules()
    rules.add(call("mul", any_("x"), any_("x")))(lambda m, b: b.call(Relu(), m["x"]))
    function = parse("""\
def main(%x: f32[2], %y: f32[2]) -> (f32[2], f32[2]) {
  %s = mul(%x, %x) : f32[2]  # "s"
  %p = mul(%x, %y) : f32[2]  # "p"
  return %s, %p
}
""")
    assert [c.op.name for c in rewrite(function, rules)] == ["relu", "mul"]


def test_ten_thousand_calls_do_not_recurse():
    lines = [f'  %{i + 1} = neg(%{i}) : f32[2]  # "n"' for i in range(10_000)]
    text = "def main(%0: f32[2]) -> f32[2] {\n" + "\n".join(lines) + "\n  return %10000\n}\n"
    function = parse(text)
    verify(function)
    assert len(parse(print_function(function)).bindings) == 10_000
