"""float32 exp, log, tanh, sinh, erf and their like as polynomials in TIR: they vectorise, no libm.

Records use TIR's intrinsics (``tirx.exp``, …; ``normal_cdf`` is our own), which stay one node
through scheduling; ``expand()`` is the pass that replaces them, just before ``LowerIntrin``.
A new function is a formula and its row in ``EXPANSIONS``. Every formula takes scalars and
vectors, keeps NumPy's meaning of infinities, NaN, zeros and denormals, and needs no fused
multiply-add, though it gains from one. Coefficients are minimax fits, rounded to float32 one
by one. Each docstring states the largest error, which
``tests/compiler/ops/test_vector_math.py`` measures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from .helpers import dtype_of
from .lazy import tirx

#: (e^r - 1 - r) / r^2 for |r| <= ln 2 / 2
_EXP = (0.0013943254, 0.0083693936, 0.041666374, 0.16666515, 0.5)
#: (ln(1 + f) - f + f^2 / 2) / f^3 for 1 + f from sqrt(1/2) to sqrt(2)
_LOG = (
    0.069156125, -0.1178937, 0.118726194, -0.12384402, 0.14218716, -0.1666925, 0.20002224,
    -0.24999987, 0.3333331,
)  # fmt: skip
#: (tanh(x) / x - 1) / x^2, in x^2, for |x| <= 9/16
_TANH = (-0.0061640874, 0.020997167, -0.053835187, 0.13332434, -0.33333313)
#: erf(x) / x - 1, in x^2, for |x| <= 0.93
_ERF = (
    7.9952864e-05, -0.00080495445, 0.0051923934, -0.02685573, 0.11283626, -0.3761263, 0.12837917,
)  # fmt: skip
#: ln(erfc(x)) / x for x from 0.93 to 4
_ERFC = (
    -5.1517518e-06, 4.8207865e-05, 3.605779e-05, -0.0028923322, 0.022612128, -0.10520308,
    -0.6356564, -1.128545,
)  # fmt: skip

#: Phi(-x) in 2 x / _CDF_END - 1, for x from 0 to _CDF_END: there it is 0
_CDF_END = 5.6
_CDF = (
    -0.0018167685, 0.0027107424, 0.009646269, -0.019973718, -0.014761874, 0.06318619, -0.024679843,
    -0.09327872, 0.13511112, -0.0014135701, -0.18906184, 0.21685068, -0.028591227, -0.19783263,
    0.27471882, -0.1980857, 0.0868802, -0.02216328, 0.0025551298,
)  # fmt: skip
#: (sinh(x) / x - 1) / x^2, in x^2, for |x| <= 1
_SINH = (2.7557319e-06, 0.0001984127, 0.008333334, 0.16666667)

_LN2_HIGH = 0.693145751953125  # 15 bits: its product with an exponent is exact
_LN2_LOW = 1.42860682030941723212e-06


def _like(x: Any, value: float) -> Any:
    return tirx.const(value, dtype_of(x))


def _let(value: Any, body: Callable[[Any], Any]) -> Any:
    """``body(value)`` with the value computed once."""
    var = tirx.Var("v", value.expr_ty())
    return tirx.Let(var, value, body(var))


def _horner(x: Any, coefficients: Sequence[float]) -> Any:
    total = _like(x, coefficients[0])
    for c in coefficients[1:]:
        total = total * x + _like(x, c)
    return total


def _bits(x: Any) -> Any:
    return tirx.reinterpret(dtype_of(x).replace("float32", "int32"), x)


def _from_bits(i: Any) -> Any:
    return tirx.reinterpret(dtype_of(i).replace("int32", "float32"), i)


def _magnitude(x: Any) -> Any:
    return _from_bits(_bits(x) & _like(_bits(x), 0x7FFFFFFF))


def _with_sign(magnitude: Any, x: Any) -> Any:
    sign = _bits(x) & _like(_bits(x), -(2**31))
    return _from_bits(_bits(magnitude) | sign)


def _clamp(x: Any, low: float, high: float) -> Any:
    """x within [low, high]; NaN stays, as ``max(a, b)`` is ``a > b ? a : b``."""
    return tirx.min(_like(x, high), tirx.max(_like(x, low), x))


def _exp(x: Any, denormals: bool) -> Any:
    """e^x = 2^n e^r with |r| <= ln 2 / 2, of x within the range of results.

    Adding 1.5 * 2^23 leaves the nearest integer in the lowest bits. 2^n is made of bits; as
    two factors where n may be below -126 or be 128.
    """
    magic = 12582912.0

    def power(k: Any) -> Any:
        return _from_bits((k + _like(k, 127)) << _like(k, 23))

    def scaled(shifted: Any) -> Any:
        n = shifted - _like(x, magic)
        i = _bits(shifted) - _like(_bits(x), 0x4B400000)
        half = i >> _like(i, 1)
        scale = (
            (lambda e: e * power(half) * power(i - half)) if denormals else (lambda e: e * power(i))
        )
        r = x - n * _like(x, _LN2_HIGH) - n * _like(x, _LN2_LOW)
        return _let(r, lambda r: scale(r * r * _horner(r, _EXP) + r + _like(r, 1)))

    return _let(x * _like(x, 1 / math.log(2)) + _like(x, magic), scaled)


def exp(x: Any) -> Any:
    """e^x within 1.1 ulp."""
    return _let(_clamp(x, -104.0, 88.8), lambda x: _exp(x, denormals=True))


def _log_of_parts(k: Any, f: Any, correction: Any) -> Any:
    """k ln 2 + ln(1 + f) + correction."""
    low = k * _like(k, _LN2_LOW) + correction

    def total(square: Any) -> Any:
        tail = square * f * _horner(f, _LOG) - _like(f, 0.5) * square
        return tail + low + f + k * _like(k, _LN2_HIGH)

    return _let(f * f, total)


def _split(x: Any) -> tuple[Any, Any]:
    """(k, f) with x = 2^k (1 + f), and 1 + f from sqrt(1/2) to sqrt(2)."""
    root_half = 0x3F3504F3
    i = _bits(x) - _like(_bits(x), root_half)
    fraction = (i & _like(i, 0x7FFFFF)) + _like(i, root_half)
    return i >> _like(i, 23), _from_bits(fraction) - _like(x, 1)


def _limits(x: Any, u: Any, y: Any) -> Any:
    """y = ln(u) where it is finite; x where x is an infinity or NaN, and ln's own values."""
    at_zero = tirx.Select(tirx.EQ(u, _like(u, 0)), _like(u, -math.inf), _like(u, math.nan))
    inside = tirx.Select(tirx.GT(u, _like(u, 0)), y, at_zero)
    return tirx.Select(tirx.LT(x, _like(x, math.inf)), inside, x)


def log(x: Any) -> Any:
    """ln x within 0.9 ulp."""

    def value(x: Any) -> Any:
        denormal = tirx.LT(x, _like(x, 1.17549435e-38))
        normal = tirx.Select(denormal, x * _like(x, 2.0**25), x)
        return _let(normal, lambda u: logarithm(x, u, denormal))

    def logarithm(x: Any, u: Any, denormal: Any) -> Any:
        k, f = _split(u)
        k = k.astype(dtype_of(x)) - tirx.Select(denormal, _like(x, 25), _like(x, 0))
        parts = _let(k, lambda k: _let(f, lambda f: _log_of_parts(k, f, _like(f, 0))))
        return _limits(x, x, parts)

    return _let(x, value)


def log1p(x: Any) -> Any:
    """ln(1 + x) within 0.9 ulp."""

    def value(x: Any, u: Any) -> Any:
        k, f = _split(u)
        k = k.astype(dtype_of(x))
        # What rounding took from u = 1 + x, relative to u; where u is near 1, f = x is exact.
        one = _like(x, 1)
        lost = tirx.Select(x >= one, one - (u - x), x - (u - one)) / u

        def parts(k: Any) -> Any:
            near = tirx.EQ(k, _like(k, 0))
            correction = tirx.Select(near, _like(x, 0), lost)
            return _let(tirx.Select(near, x, f), lambda f: _log_of_parts(k, f, correction))

        y = tirx.Select(tirx.EQ(u, one), x, _let(k, parts))
        return _limits(x, u, y)

    return _let(x, lambda x: _let(x + _like(x, 1), lambda u: value(x, u)))


def _odd(x: Any, limit: float, split: float, near: Any, far: Any) -> Any:
    """The odd function that is ``near`` below ``split`` and ``far`` from there to ``limit``."""

    def value(a: Any) -> Any:
        return _with_sign(tirx.Select(tirx.LT(a, _like(a, split)), near(a), far(a)), x)

    return _let(tirx.min(_like(x, limit), _magnitude(x)), value)


def tanh(x: Any) -> Any:
    """tanh x within 1.5 ulp: x + x^3 P(x^2) near 0, else 1 - 2 / (e^2x + 1)."""

    def near(a: Any) -> Any:
        return _let(a * a, lambda z: a * z * _horner(z, _TANH) + a)

    def far(a: Any) -> Any:
        e = _let(a + a, lambda twice: _exp(twice, denormals=False))
        return _like(a, 1) - _like(a, 2) / (e + _like(a, 1))

    return _let(x, lambda x: _odd(x, 10, 0.5625, near, far))


def _half_exp(a: Any, sign: int) -> Any:
    """(e^a + sign * e^-a) / 2 for a >= 0, by e^(a/2), as e^a overflows too early."""

    def value(e: Any) -> Any:
        grows, falls = _like(a, 0.5) * e * e, _like(a, 0.5) / (e * e)
        return grows + falls if sign > 0 else grows - falls

    return _let(exp(a * _like(a, 0.5)), value)


def sinh(x: Any) -> Any:
    """sinh x within 4 ulp: x + x^3 P(x^2) near 0, else (e^x - e^-x) / 2."""

    def near(a: Any) -> Any:
        return _let(a * a, lambda z: a * z * _horner(z, _SINH) + a)

    return _let(x, lambda x: _odd(x, math.inf, 1.0, near, lambda a: _half_exp(a, -1)))


def cosh(x: Any) -> Any:
    """cosh x within 4 ulp: (e^x + e^-x) / 2."""
    return _let(x, lambda x: _let(_magnitude(x), lambda a: _half_exp(a, 1)))


def erf(x: Any) -> Any:
    """erf x within 1.5 ulp: x + x P(x^2) near 0, else 1 - e^(x Q(x))."""

    def near(a: Any) -> Any:
        return _let(a * a, lambda z: a * _horner(z, _ERF) + a)

    def far(a: Any) -> Any:
        return _like(a, 1) - _let(a * _horner(a, _ERFC), lambda y: _exp(y, denormals=False))

    return _let(x, lambda x: _odd(x, 4, 0.93, near, far))


def _normal_cdf(x: Any) -> Any:
    """Phi(x) = (1 + erf(x / sqrt 2)) / 2 within 1.5e-7: one polynomial, as GELU's time is its."""

    def tail(a: Any) -> Any:
        u = a * _like(a, 2 / _CDF_END) - _like(a, 1)
        return tirx.max(_like(a, 0), _let(u, lambda u: _horner(u, _CDF)))

    def value(x: Any) -> Any:
        below = tail(tirx.min(_like(x, _CDF_END), _magnitude(x)))
        return _let(below, lambda t: tirx.Select(tirx.LT(x, _like(x, 0)), t, _like(x, 1) - t))

    return _let(x, value)


def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x) within 2.3 ulp, by e^-|x|, which cannot overflow."""

    def value(x: Any, e: Any) -> Any:
        one = _like(x, 1)
        return tirx.Select(tirx.LT(x, _like(x, 0)), e, one) / (e + one)

    return _let(x, lambda x: _let(exp(_like(x, 0) - _magnitude(x)), lambda e: value(x, e)))


EXPANSIONS: dict[str, Callable[[Any], Any]] = {
    "tirx.exp": exp,
    "tirx.log": log,
    "tirx.log1p": log1p,
    "tirx.tanh": tanh,
    "tirx.sinh": sinh,
    "tirx.cosh": cosh,
    "tirx.erf": erf,
    "tirx.sigmoid": sigmoid,
    "armlet.normal_cdf": _normal_cdf,
}


@lru_cache(maxsize=1)
def _register() -> None:
    """Tells TVM of the intrinsic that it does not have: pure, and of vectors as of scalars."""
    import tvm

    name, pure = "armlet.normal_cdf", 1
    tvm.ir.register_op_attr(name, "TCallEffectKind", pure)
    tvm.ir.register_op_attr(name, "TVectorizable", True)
    tvm.ir.register_op_attr(name, "TScriptPrinterName", name)


def normal_cdf(x: Any) -> Any:
    """The probability of a standard normal below a float32 x, as one node until ``expand``."""
    _register()
    return tirx.call_intrin("float32", "armlet.normal_cdf", x)


def expand() -> Any:
    """The TVM pass that replaces float32 calls of ``EXPANSIONS``; others stay libm's.

    It runs after common subexpressions were found and loops were vectorised, before
    ``LowerIntrin``.
    """
    import tvm
    import tvm_ffi

    def replace(call: Any) -> Any:
        formula = EXPANSIONS.get(str(getattr(call.op, "name", "")))
        if formula is None or not dtype_of(call).startswith("float32"):
            return call
        return formula(call.args[0])

    def transform(func: Any, _module: Any, _context: Any) -> Any:
        return func.with_body(tvm_ffi.structural_map(func.body, (tvm.ir.Call, replace)))

    return tvm.tirx.transform.prim_func_pass(transform, opt_level=0, name="armlet.ExpandMath")
