"""Tensor expressions as OpenCL C: scalars, or vectors of the four channels of a texel.

In vector form every variable that ``vectors`` names holds one element for each lane, and a
condition on such is a mask of whole bits. What has no such form raises ``NotAVector``;
whoever asked writes the four lanes one by one then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import tvm_ffi

from armlet.compiler.ops.lazy import tirx

#: dtype -> OpenCL C's name of it
C_NAMES = {
    "float32": "float", "float16": "half", "int8": "char", "int16": "short", "int32": "int",
    "int64": "long", "uint8": "uchar", "uint16": "ushort", "uint32": "uint", "uint64": "ulong",
    "bool": "bool",
}  # fmt: skip
#: bits of a lane
BITS = {"float32": 32, "float16": 16, "int32": 32, "uint32": 32, "int16": 16, "uint16": 16}
LANES = 4

#: begins a piece of C in a call of ``call_pure_extern``: of a scalar, of a texel
TEXT, TEXEL = "armlet.text.", "armlet.texel."


@tvm_ffi.register_error
class NotAVector(RuntimeError):
    """The expression treats the lanes of a texel differently. Passes through TVM's visitors."""


@dataclass(frozen=True)
class Text:
    """An expression as C, in parentheses where it needs them."""

    text: str
    dtype: str
    vector: bool = False
    #: of a vector of truth values: bits of a lane
    mask: int = 0

    @property
    def c_type(self) -> str:
        return C_NAMES[self.dtype] + (str(LANES) if self.vector else "")

    def widened(self) -> str:
        """The text as a vector."""
        if self.vector:
            return self.text
        return f"({C_NAMES[self.dtype]}{LANES})({self.text})"


#: functions of one or two floats
_FUNCTIONS = {
    "tirx.exp": "exp", "tirx.log": "log", "tirx.log1p": "log1p", "tirx.tanh": "tanh",
    "tirx.sqrt": "sqrt", "tirx.fabs": "fabs", "tirx.floor": "floor", "prim.floor": "floor",
    "prim.ceil": "ceil", "tirx.ceil": "ceil", "tirx.nearbyint": "rint", "tirx.round": "rint",
    "tirx.trunc": "trunc", "tirx.sin": "sin", "tirx.cos": "cos", "tirx.tan": "tan",
    "tirx.asin": "asin", "tirx.acos": "acos", "tirx.atan": "atan", "tirx.asinh": "asinh",
    "tirx.acosh": "acosh", "tirx.atanh": "atanh", "tirx.sinh": "sinh", "tirx.cosh": "cosh",
    "tirx.erf": "erf", "tirx.pow": "pow", "tirx.exp2": "exp2", "tirx.rsqrt": "rsqrt",
}  # fmt: skip
#: those that are exact in float16, or one instruction there
_HALF_FUNCTIONS = frozenset({"fabs", "floor", "ceil", "rint", "trunc", "sqrt"})
_SYMBOLS = {
    "Add": "+", "Sub": "-", "Mul": "*", "Div": "/", "Mod": "%", "LT": "<", "LE": "<=", "GT": ">",
    "GE": ">=", "EQ": "==", "NE": "!=", "BitwiseAnd": "&", "BitwiseOr": "|", "BitwiseXor": "^",
    "LShift": "<<", "RShift": ">>",
}  # fmt: skip
_COMPARISONS = frozenset({"LT", "LE", "GT", "GE", "EQ", "NE"})


class Printer:
    """Prints expressions; ``nonnegative`` tells whether an index is known to be."""

    def __init__(self, vectors: Collection[str], nonnegative: Callable[[Any], bool]) -> None:
        self.vectors, self._nonnegative = vectors, nonnegative

    def __call__(self, expr: Any) -> Text:
        kind = type(expr).__name__
        if kind in _SYMBOLS:
            return self._binary(kind, expr)
        return getattr(self, f"_{kind}")(expr)

    # -- leaves -------------------------------------------------------------------------------

    def _Var(self, expr: Any) -> Text:
        return Text(expr.name, _dtype(expr), expr.name in self.vectors)

    def _IntImm(self, expr: Any) -> Text:
        value, dtype = int(expr.value), _dtype(expr)
        if dtype == "bool":
            return Text("true" if value else "false", dtype)
        suffix = {"int64": "L", "uint64": "UL", "uint32": "U"}.get(dtype, "")
        if value < 0:  # the smallest has no literal of its own
            return Text(f"({value + 1}{suffix} - 1{suffix})", dtype)
        return Text(f"{value}{suffix}", dtype)

    def _FloatImm(self, expr: Any) -> Text:
        dtype = _dtype(expr)
        return Text(literal(float(expr.value), dtype), dtype)

    def _TensorLoad(self, expr: Any) -> Text:
        (place,) = expr.indices
        index = self(place)
        if index.vector:
            raise NotAVector("loads by lane")
        return Text(f"{expr.source.name}[{index.text}]", _dtype(expr))

    # -- arithmetic ---------------------------------------------------------------------------

    def _pair(self, a: Any, b: Any) -> tuple[Text, Text, bool]:
        left, right = self(a), self(b)
        return left, right, left.vector or right.vector

    def _binary(self, kind: str, expr: Any) -> Text:
        left, right, vector = self._pair(expr.a, expr.b)
        if left.mask or right.mask:
            raise NotAVector("arithmetic on truth values")
        text = f"({left.text} {_SYMBOLS[kind]} {right.text})"
        if kind == "Mod" and left.dtype.startswith("float"):
            return _function("fmod", [left, right])
        if kind not in _COMPARISONS:
            return Text(text, _dtype(expr), vector)
        if not vector:
            return Text(text, "bool")
        if left.dtype not in BITS:
            raise NotAVector(left.dtype)
        return Text(text, "bool", True, BITS[left.dtype])

    def _extreme(self, expr: Any, name: str) -> Text:
        left, right, vector = self._pair(expr.a, expr.b)
        name = f"f{name}" if left.dtype.startswith("float") else name
        a, b = (left.widened(), right.widened()) if vector else (left.text, right.text)
        return Text(f"{name}({a}, {b})", left.dtype, vector)

    def _Max(self, expr: Any) -> Text:
        return self._extreme(expr, "max")

    def _Min(self, expr: Any) -> Text:
        return self._extreme(expr, "min")

    def _floor(self, expr: Any, symbol: str, name: str) -> Text:
        left, right, vector = self._pair(expr.a, expr.b)
        if vector:
            raise NotAVector("an index by lane")
        if self._nonnegative(expr.a):
            return Text(f"({left.text} {symbol} {right.text})", left.dtype)
        wide = "64" if left.dtype == "int64" else ""
        return Text(f"{name}{wide}({left.text}, {right.text})", left.dtype)

    def _FloorDiv(self, expr: Any) -> Text:
        return self._floor(expr, "/", "floor_div")

    def _FloorMod(self, expr: Any) -> Text:
        return self._floor(expr, "%", "floor_mod")

    # -- truth values -------------------------------------------------------------------------

    def _logical(self, expr: Any, scalar: str, vector: str) -> Text:
        left, right, _ = self._pair(expr.a, expr.b)
        if not (left.mask or right.mask):
            return Text(f"({left.text} {scalar} {right.text})", "bool")
        if left.mask != right.mask:
            raise NotAVector("masks of two widths")
        return Text(f"({left.text} {vector} {right.text})", "bool", True, left.mask)

    def _And(self, expr: Any) -> Text:
        return self._logical(expr, "&&", "&")

    def _Or(self, expr: Any) -> Text:
        return self._logical(expr, "||", "|")

    def _Not(self, expr: Any) -> Text:
        value = self(expr.a)
        return Text(f"({'~' if value.mask else '!'}{value.text})", "bool", value.vector, value.mask)

    def _Select(self, expr: Any) -> Text:
        return self._choice(expr.condition, expr.true_value, expr.false_value)

    def _choice(self, condition: Any, yes: Any, no: Any) -> Text:
        asked, (a, b, vector) = self(condition), self._pair(yes, no)
        if a.mask or b.mask:
            raise NotAVector("a choice of truth values")
        if not asked.vector:
            left, right = (a.widened(), b.widened()) if vector else (a.text, b.text)
            return Text(f"({asked.text} ? {left} : {right})", a.dtype, vector)
        if BITS.get(a.dtype) != asked.mask:
            raise NotAVector("a mask of another width")
        return Text(f"select({b.widened()}, {a.widened()}, {asked.text})", a.dtype, True)

    # -- conversions and functions ------------------------------------------------------------

    def _Cast(self, expr: Any) -> Text:
        value, dtype = self(expr.value), _dtype(expr)
        if value.mask:
            raise NotAVector("a truth value as a number")
        if value.vector:
            return Text(f"convert_{C_NAMES[dtype]}{LANES}({value.text})", dtype, True)
        return Text(f"({C_NAMES[dtype]})({value.text})", dtype)

    def _Call(self, expr: Any) -> Text:
        name = expr.op.name
        if name == "prim.if_then_else":
            return self._choice(*expr.args)
        if name == "tirx.call_pure_extern":
            return self._named(str(expr.args[0].value), list(expr.args[1:]), _dtype(expr))
        arguments = [self(a) for a in expr.args]
        if name == "tirx.reinterpret":
            lanes = str(LANES) if arguments[0].vector else ""
            dtype = _dtype(expr)
            text = f"as_{C_NAMES[dtype]}{lanes}({arguments[0].text})"
            return Text(text, dtype, arguments[0].vector)
        if name == "tirx.isnan":
            return self._is_nan(arguments[0])
        if name == "tirx.sigmoid":
            return _function("sigmoid", arguments)
        if name == "armlet.normal_cdf":
            return _function("normal_cdf", arguments)
        return _function(_FUNCTIONS[name], arguments)

    def _is_nan(self, value: Text) -> Text:
        mask = BITS[value.dtype] if value.vector else 0
        return Text(f"({value.text} != {value.text})", "bool", value.vector, mask)

    def _named(self, name: str, arguments: list[Any], dtype: str) -> Text:
        """A piece of C of ours: ``{}`` stands for each argument."""
        texts = [self(a) for a in arguments]
        if any(t.vector for t in texts):
            raise NotAVector("a place by lane")
        piece = name.removeprefix(TEXT).removeprefix(TEXEL)
        return Text(piece.format(*(t.text for t in texts)), dtype, name.startswith(TEXEL))


def _dtype(expr: Any) -> str:
    return str(expr.expr_ty())


def _function(name: str, arguments: list[Text]) -> Text:
    """A function of floats; in float16 it is that of float32, rounded, unless it is exact."""
    vector, dtype = any(a.vector for a in arguments), arguments[0].dtype
    texts = [a.widened() if vector else a.text for a in arguments]
    lanes = str(LANES) if vector else ""
    if dtype != "float16" or name in _HALF_FUNCTIONS:
        return Text(f"{name}{lanes if name in OURS else ''}({', '.join(texts)})", dtype, vector)
    wide = ", ".join(f"convert_float{lanes}({t})" for t in texts)
    called = f"{name}{lanes if name in OURS else ''}({wide})"
    return Text(f"convert_half{lanes}({called})", dtype, vector)


def literal(value: float, dtype: str) -> str:
    """A number as C."""
    if math.isnan(value):
        text = "NAN"
    elif math.isinf(value):
        text = "INFINITY" if value > 0 else "(-INFINITY)"
    else:
        text = f"{value!r}f" if value >= 0 and not str(value).startswith("-") else f"({value!r}f)"
    return f"((half){text})" if dtype == "float16" else text


#: functions that ``PRELUDE`` has
OURS = frozenset({"sigmoid", "normal_cdf"})
#: begins every kernel's text
PRELUDE = """\
inline int floor_div(int a, int b) { int q = a / b; return q - (a - q * b < 0); }
inline int floor_mod(int a, int b) { int r = a % b; return r < 0 ? r + b : r; }
inline long floor_div64(long a, long b) { long q = a / b; return q - (a - q * b < 0); }
inline long floor_mod64(long a, long b) { long r = a % b; return r < 0 ? r + b : r; }
__constant sampler_t NEAREST =
    CLK_NORMALIZED_COORDS_FALSE | CLK_ADDRESS_CLAMP | CLK_FILTER_NEAREST;
inline float lane_of_f(float4 v, int i) {
    return i < 2 ? (i == 0 ? v.x : v.y) : (i == 2 ? v.z : v.w);
}
inline float sigmoid(float x) { return 1.0f / (1.0f + exp(-x)); }
inline float4 sigmoid4(float4 x) { return 1.0f / (1.0f + exp(-x)); }
inline float normal_cdf(float x) { return 0.5f * erfc(x * -0.70710678f); }
inline float4 normal_cdf4(float4 x) { return 0.5f * erfc(x * -0.70710678f); }
"""
#: and of those in float16
HALF_PRELUDE = """\
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
inline half lane_of_h(half4 v, int i) {
    return i < 2 ? (i == 0 ? v.x : v.y) : (i == 2 ? v.z : v.w);
}
"""


def named(text: str, dtype: str, *arguments: Any) -> Any:
    """An expression that is printed as ``text``, whose ``{}`` are the arguments."""
    return tirx.call_pure_extern(dtype, TEXT + text, *map(tirx.convert, arguments))


def texel(text: str, dtype: str, *arguments: Any) -> Any:
    """As ``named``, of a vector."""
    return tirx.call_pure_extern(dtype, TEXEL + text, *map(tirx.convert, arguments))
