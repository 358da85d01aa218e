"""Reads the text form that ``printer.py`` writes.

Beside what the printer writes, a constant may be ``random(seed)`` (normal, or integers
0..9), ``zeros`` or ``ones``: for tests.  ``SyntaxError`` names the line that is wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from .nodes import Call, Const, Function, Operator, Value, Var
from .types import LONG_NAMES, Dim, Dimension, TensorType

_TOKEN = re.compile(
    r"""\s*(?:(?P<ref>[%$](?:"(?:[^"\\]|\\.)*"|[A-Za-z0-9_.\-]+))"""
    r"""|(?P<hash><[0-9a-f]+>)"""
    r"""|(?P<string>"(?:[^"\\]|\\.)*")"""
    r"""|(?P<comment>\#.*)"""
    r"""|(?P<arrow>->)"""
    r"""|(?P<number>[-+]?(?:inf|nan|\d+\.?\d*(?:[eE][-+]?\d+)?)(?![A-Za-z_]))"""
    r"""|(?P<word>[A-Za-z_][A-Za-z0-9_.]*)"""
    r"""|(?P<punct>[()\[\]{},:=*+\-]|//))"""
)


class _Line:
    """The tokens of one line, read from left to right."""

    def __init__(self, text: str, number: int) -> None:
        self.text, self.number, self.at = text, number, 0
        self.tokens: list[tuple[str, str]] = []
        position, text = 0, text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise self.error(f"unexpected {text[position:].strip()[:20]!r}")
            self.tokens.append((str(match.lastgroup), match.group(str(match.lastgroup))))
            position = match.end()

    def error(self, message: str) -> SyntaxError:
        return SyntaxError(f"line {self.number}: {message} in {self.text.strip()!r}")

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def accept(self, text: str) -> bool:
        found = self.peek()[1] == text
        self.at += found
        return found

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise self.error(f"expected {text!r}, found {self.peek()[1]!r}")

    def take(self, *kinds: str) -> str:
        kind, text = self.peek()
        if kind not in kinds:
            raise self.error(f"expected {' or '.join(kinds)}, found {text!r}")
        self.at += 1
        return text


def _name(reference: str) -> str:
    return json.loads(reference[1:]) if reference[1] == '"' else reference[1:]


def _number(text: str) -> int | float:
    return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)


def _dimension(line: _Line) -> Dimension:
    """An integer, a name, or an expression in parentheses (kept as text)."""
    kind, text = line.peek()
    if kind == "number":
        return int(line.take("number"))
    if kind == "word":
        return Dim(line.take("word"))
    depth = 0
    parts: list[str] = []
    while True:
        kind, text = line.peek()
        if kind == "end" or (depth == 0 and text in ",]"):
            return Dim("".join(parts))
        depth += (text == "(") - (text == ")")
        parts.append(text)
        line.at += 1


def _type(line: _Line) -> TensorType:
    dtype = line.take("word")
    if dtype not in LONG_NAMES:
        raise line.error(f"unknown dtype {dtype!r}")
    line.expect("[")
    shape: list[Dimension] = []
    while not line.accept("]"):
        shape.append(_dimension(line))
        line.accept(",")
    return TensorType(tuple(shape), LONG_NAMES[dtype])


def _attribute(line: _Line) -> Any:
    kind = line.peek()[0]
    if line.accept("["):
        items = []
        while not line.accept("]"):
            items.append(_attribute(line))
            line.accept(",")
        return tuple(items)
    if kind == "string":
        return json.loads(line.take("string"))
    if kind == "number":
        return _number(line.take("number"))
    return {"true": True, "false": False, "none": None}[line.take("word")]


def _constant(line: _Line, constants: Mapping[str, np.ndarray]) -> Const:
    name = _name(line.take("ref"))
    line.expect(":")
    kind = _type(line)
    line.expect("=")
    shape, dtype = kind.static_shape, kind.dtype
    if line.peek()[0] == "hash":
        if name not in constants:
            raise line.error(f"constant ${name} is too large to be text: give its data")
        return Const(name, constants[name])
    if line.peek()[1] == "[":
        return Const(name, np.array(_attribute(line), dtype).reshape(shape))
    fill = line.take("word")
    if fill == "random":
        line.expect("(")
        rng = np.random.default_rng(int(line.take("number")))
        floating = np.dtype(dtype).kind == "f"
        data = rng.standard_normal(shape) if floating else rng.integers(0, 10, shape)
    elif fill in ("zeros", "ones"):
        data = np.full(shape, int(fill == "ones"))
    else:
        raise line.error(f"unknown constant {fill!r}")
    return Const(name, data.astype(dtype))


class _Parser:
    def __init__(
        self, operators: Mapping[str, type[Operator]], constants: Mapping[str, np.ndarray]
    ) -> None:
        self.operators, self.constants = operators, constants
        self.values: dict[str, Value] = {}

    def value(self, line: _Line) -> Value:
        text = line.take("ref")
        key = text[0] + _name(text)
        if key not in self.values:
            raise line.error(f"{text} is not defined before its use")
        return self.values[key]

    def bind(self, var: Var) -> Var:
        self.values["%" + var.name] = var
        return var

    def call(self, line: _Line) -> Call:
        names = [_name(line.take("ref"))]
        while line.accept(","):
            names.append(_name(line.take("ref")))
        line.expect("=")
        op_name = line.take("word")
        if op_name not in self.operators:
            raise line.error(f"unknown operator {op_name!r}")
        line.expect("(")
        operands: list[Value] = []
        while not line.accept(")"):
            operands.append(self.value(line))
            line.accept(",")
        attributes: dict[str, Any] = {}
        if line.accept("{"):
            while not line.accept("}"):
                key = line.take("word")
                line.expect("=")
                attributes[key] = _attribute(line)
                line.accept(",")
        line.expect(":")
        types = [_type(line)]
        while line.accept(","):
            types.append(_type(line))
        source = ""
        if line.peek()[0] == "comment":
            source = json.loads(line.take("comment")[1:])
        try:
            op = self.operators[op_name](**attributes)
        except TypeError as error:
            raise line.error(str(error)) from None
        outputs = tuple(self.bind(Var(n, t)) for n, t in zip(names, types, strict=True))
        return Call(op, tuple(operands), outputs, source)

    def function(self, lines: list[_Line]) -> Function:
        params: list[Var] = []
        bindings: list[Call] = []
        name = "main"
        for line in lines:
            if line.accept("const"):
                const = _constant(line, self.constants)
                self.values["$" + const.name] = const
            elif line.accept("def"):
                name = line.take("word")
                line.expect("(")
                while not line.accept(")"):
                    param = _name(line.take("ref"))
                    line.expect(":")
                    params.append(self.bind(Var(param, _type(line))))
                    line.accept(",")
            elif line.accept("return"):
                results = []
                while line.peek()[0] == "ref":
                    results.append(self.value(line))
                    line.accept(",")
                return Function(tuple(params), tuple(bindings), tuple(results), name)
            elif line.peek()[0] == "ref":
                bindings.append(self.call(line))
            else:
                raise line.error("expected const, def, a binding or return")
        raise SyntaxError("the function has no return line")


def parse_function(
    text: str,
    operators: Mapping[str, type[Operator]],
    constants: Mapping[str, np.ndarray] | None = None,
) -> Function:
    """The function that ``text`` describes; ``operators`` gives the meaning of names."""
    lines = [_Line(t, i) for i, t in enumerate(text.splitlines(), 1)]
    lines = [line for line in lines if line.tokens and line.tokens[0][0] != "comment"]
    return _Parser(operators, constants or {}).function(lines)
