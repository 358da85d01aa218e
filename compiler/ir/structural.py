"""Structural equality and hashing of functions: names, sources and identity do not count."""

from __future__ import annotations

import hashlib

from .nodes import Const, Function, Value
from .printer import attributes, content_hash


def canonical_text(function: Function, constant_data: bool = True) -> str:
    """Text that is the same for functions of the same structure.

    Variables are numbered in order of binding. A constant is its type and, with
    ``constant_data``, the hash of its bytes.
    """
    names: dict[Value, str] = {p: f"p{i}" for i, p in enumerate(function.params)}

    def text(value: Value) -> str:
        if isinstance(value, Const):
            data = f"={content_hash(value.data)}" if constant_data else ""
            return f"${value.type}{data}"
        return names[value]

    lines = [", ".join(str(p.type) for p in function.params)]
    for number, call in enumerate(function.bindings):
        for index, output in enumerate(call.outputs):
            names[output] = f"v{number}.{index}"
        types = ", ".join(str(v.type) for v in call.outputs)
        operands = ", ".join(map(text, call.operands))
        lines.append(f"{call.op.name}({operands}){attributes(call.op)} : {types}")
    lines.append("return " + ", ".join(map(text, function.results)))
    return "\n".join(lines)


def structural_hash(function: Function, constant_data: bool = True) -> str:
    """SHA-256 of the canonical text, as hex."""
    return hashlib.sha256(canonical_text(function, constant_data).encode()).hexdigest()


def structural_equal(a: Function, b: Function) -> bool:
    return canonical_text(a) == canonical_text(b)
