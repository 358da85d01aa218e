"""The text form of the IR (``parser.py`` reads it back).

    const $b : f32[2] = [0.5, 1.0]
    const $w : f32[2,3,3,3] = <1f0c…>
    def main(%x: f32[1,3,8,8]) -> f32[1,2,8,8] {
      %y = conv2d(%x, $w, $b) {pads=[1,1,1,1]} : f32[1,2,8,8]  # "stem"
      return %y
    }

Constants of at most ``INLINE`` elements are written out; larger ones by a content hash,
and the reader must be given their data.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from typing import Any

import numpy as np

from .nodes import Call, Const, Function, Operator, Value
from .types import Dim

INLINE = 16
_PLAIN = re.compile(r"[A-Za-z0-9_.\-]+\Z")


def content_hash(array: np.ndarray) -> str:
    """The first 16 hex digits of SHA-256 over dtype, shape and bytes."""
    digest = hashlib.sha256(f"{array.dtype.name}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def quote(name: str) -> str:
    return name if _PLAIN.match(name) else json.dumps(name)


def reference(value: Value) -> str:
    return ("$" if isinstance(value, Const) else "%") + quote(value.name)


def attribute(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return "[" + ",".join(map(attribute, value)) + "]"
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (str, Dim)):
        return json.dumps(str(value))
    if value is None:
        return "none"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    return repr(float(value))


def attributes(op: Operator) -> str:
    """The attributes that differ from their defaults, as ``{name=value, …}``."""
    shown = [
        f"{f.name}={attribute(getattr(op, f.name))}"
        for f in dataclasses.fields(op)  # type: ignore[arg-type]
        if f.default is dataclasses.MISSING or getattr(op, f.name) != f.default
    ]
    return f" {{{', '.join(shown)}}}" if shown else ""


def call_text(call: Call) -> str:
    outputs = ", ".join(map(reference, call.outputs))
    operands = ", ".join(map(reference, call.operands))
    types = ", ".join(str(v.type) for v in call.outputs)
    source = f"  # {json.dumps(call.source)}" if call.source else ""
    return f"{outputs} = {call.op.name}({operands}){attributes(call.op)} : {types}{source}"


def constant_text(const: Const) -> str:
    data = const.data
    if data.size <= INLINE:
        body = "[" + ", ".join(attribute(v) for v in data.ravel().tolist()) + "]"
    else:
        body = f"<{content_hash(data)}>"
    return f"const {reference(const)} : {const.type} = {body}"


def print_function(function: Function) -> str:
    """The function as text, with the constants it reads before it."""
    lines = [constant_text(c) for c in function.constants]
    params = ", ".join(f"{reference(p)}: {p.type}" for p in function.params)
    types = ", ".join(str(r.type) for r in function.results)
    types = types if len(function.results) == 1 else f"({types})"
    lines.append(f"def {function.name}({params}) -> {types} {{")
    lines += [f"  {call_text(c)}" for c in function.bindings]
    lines.append(f"  return {', '.join(map(reference, function.results))}")
    lines.append("}")
    return "\n".join(lines) + "\n"
