"""Which kernels become one chain."""

import re

import pytest

from armlet.compiler.ir import verify
from armlet.compiler.ir.group import Group
from armlet.compiler.ops import parse
from armlet.compiler.passes.chain import chain
from armlet.compiler.passes.fuse import fuse
from armlet.targets import target

V4 = target("linux-x86_64-v4")


def chains_of(text: str, size: int = 112) -> list[str]:
    """Each kernel as the names of its calls' outputs, those of anchors in capitals.

    WIDE, NARROW and DEPTHWISE stand for types and attributes.
    """
    wide = "f32[1,6,SIZE,SIZE,16]"
    text = (HEAD + text + "}\n").replace("DEPTHWISE", "{pads=[1,1,1,1], channels=96} : " + wide)
    text = text.replace("EXPAND", "{in_channels=16, out_channels=96} : " + wide)
    results = [
        wide if v in "fgqs" else "NARROW" for v in re.findall(r"%(\w)", text.split("return")[1])
    ]
    text = text.replace("RESULT", results[0] if len(results) == 1 else f"({', '.join(results)})")
    text = text.replace("WIDE", wide).replace("NARROW", "f32[1,1,SIZE,SIZE,16]")
    function = parse(text.replace("SIZE", str(size)))
    verify(function)
    found = []
    for group in chain(fuse(function), function, V4):
        assert isinstance(group, Group)
        anchors = (*group.producers, group.anchor)
        names = [c.output.name.upper() if c in anchors else c.output.name for c in group.calls]
        found.append("+".join(names))
    return found


HEAD = """\
const $e : f32[6,1,1,1,16,16] = random(1)
const $d : f32[6,3,3,16] = random(2)
const $p : f32[1,6,1,1,16,16] = random(3)
def main(%x: NARROW) -> RESULT {
  %e = conv2d_blocked(%x, $e) EXPAND  # "e"
  %f = relu(%e) : WIDE  # "e"
  %d = depthwise_conv2d_blocked(%f, $d) DEPTHWISE  # "d"
  %g = relu(%d) : WIDE  # "d"
  %p = conv2d_blocked(%g, $p) {in_channels=96, out_channels=16} : NARROW  # "p"
"""
RESIDUAL = '  %r = add(%p, %x) : NARROW  # "r"\n  return %r\n'


@pytest.mark.parametrize(("size", "kernels"), [(112, ["E+f+D+g+P+r"]), (7, ["E+f", "D+g", "P+r"])])
def test_what_is_larger_than_the_caches_becomes_a_chain(size, kernels):
    assert chains_of(RESIDUAL, size) == kernels


@pytest.mark.parametrize(("name", "kernels"), [("f", ["E+f", "D+g+P"]), ("g", ["E+f+D+g", "P"])])
def test_a_result_on_the_way_ends_a_chain(name, kernels):
    assert chains_of(f"  return %p, %{name}\n") == kernels


def test_a_second_reader_ends_a_chain():
    text = '  %q = depthwise_conv2d_blocked(%g, $d) DEPTHWISE  # "q"\n  return %p, %q\n'
    assert chains_of(text) == ["E+f+D+g", "P", "Q"]


def test_a_value_that_is_read_elementwise_too_ends_a_chain():
    text = """\
  %q = conv2d_blocked(%p, $e) EXPAND  # "q"
  %s = add(%q, %g) : WIDE  # "q"
  return %s
"""
    assert chains_of(text) == ["E+f+D+g", "P", "Q+s"]
