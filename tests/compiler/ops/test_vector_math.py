"""The polynomials: as exact as they say, right at the edges, and free of calls."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tvm
from scipy import special
from tvm import te

from armlet.compiler.lower.plain_c import plain_c
from armlet.compiler.ops import vector_math
from armlet.compiler.ops.lazy import tirx

from .harness import build

SIZE = 1 << 16

#: name -> (meaning in float64, where the result is neither constant nor infinite)
FUNCTIONS = {
    "exp": (np.exp, (-105, 89)),
    "log": (np.log, (0, 1000)),
    "log1p": (np.log1p, (-1, 100)),
    "tanh": (np.tanh, (-12, 12)),
    "sinh": (np.sinh, (-89.4, 89.4)),
    "cosh": (np.cosh, (-89.4, 89.4)),
    "erf": (special.erf, (-5, 5)),
    "sigmoid": (special.expit, (-110, 20)),
}
every_function = pytest.mark.parametrize("name", FUNCTIONS)

HOST_CPU = tvm.get_global_func("tvm.codegen.llvm.GetHostCPUName")()
#: baseline x86-64 has no fused multiply-add
HOSTS = {
    "baseline": {"kind": "llvm", "opt-level": 3},
    "host": {"kind": "llvm", "mcpu": HOST_CPU, "opt-level": 3},
}
OTHERS = {
    "x86-64-v4": {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "x86-64-v4"},
    "arm64": {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a55"},
    "riscv64": {"kind": "llvm", "mtriple": "riscv64-linux-gnu", "mattr": ["+m", "+f", "+d", "+v"]},
    "wasm32": {"kind": "llvm", "mtriple": "wasm32-unknown-unknown", "mattr": ["+simd128"]},
}
CALLS = {
    "x86-64-v4": r"\scallq?\s",
    "arm64": r"\s(bl|blr)\s",
    "riscv64": r"\s(call|tail)\s",
    "wasm32": r"\scall",
}


def loop(name: str, lanes: int) -> object:
    """y[i] = name(x[i]) over all elements, ``lanes`` at a time."""
    x, y = (tirx.decl_buffer((SIZE,), "float32", name=n) for n in "xy")
    i, lane = tirx.Var("i", "int32"), tirx.Var("lane", "int32")
    call = vector_math.normal_cdf if name == "normal_cdf" else getattr(tirx, name)
    value = call(x[i * lanes + lane])
    inner = tirx.BufferStore(y, value, [i * lanes + lane])
    kind = tirx.ForKind.VECTORIZED if lanes > 1 else tirx.ForKind.SERIAL
    inner = tirx.For(lane, 0, lanes, kind, inner)
    outer = tirx.For(i, 0, SIZE // lanes, tirx.ForKind.SERIAL, inner)
    return tirx.PrimFunc([x, y], outer)


def compiled(name: str, host: str = "host", lanes: int = 16):
    library = tvm.runtime.Executable(build({"k": loop(name, lanes)}, HOSTS[host])).jit()

    def run(x: np.ndarray) -> np.ndarray:
        padded = np.ones(SIZE, np.float32)
        padded[: len(x)] = x
        y = tvm.runtime.tensor(np.empty_like(padded))
        library["k"](tvm.runtime.tensor(padded), y)
        return y.numpy()[: len(x)]

    return run


def operands(low: float, high: float) -> list[np.ndarray]:
    """Over the range, near its middle at every magnitude, and of any bits."""
    rng = np.random.default_rng(0)
    uniform = rng.uniform(low, high, SIZE)
    return [
        np.linspace(low, high, SIZE).astype(np.float32),
        rng.standard_normal(SIZE).astype(np.float32),
        *((uniform * 10.0**-power).astype(np.float32) for power in range(0, 8, 2)),
        rng.integers(0, 2**32, SIZE, np.uint32).view(np.float32),
    ]


def stated(name: str) -> float:
    """The error that the docstring states."""
    return float(
        re.search(r"within ([\d.]+) ulp", vector_math.EXPANSIONS[f"tirx.{name}"].__doc__)[1]
    )


def ulps(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """The error in units of the last place of the exact answer, a denormal's being 2^-149."""
    exponent = np.floor(np.log2(np.maximum(np.abs(exact), 2.0**-126)))
    return np.abs(got - exact) / 2.0 ** (exponent - 23)


@every_function
@pytest.mark.parametrize("host", HOSTS)
def test_error_is_no_larger_than_stated(name, host):
    meaning, (low, high) = FUNCTIONS[name]
    run = compiled(name, host)
    for x in operands(low, high):
        with np.errstate(all="ignore"):
            got, exact = run(x), meaning(x.astype(np.float64))
            rounded = exact.astype(np.float32)
            np.testing.assert_array_equal(np.isnan(got), np.isnan(rounded))
            infinite = np.isinf(rounded)
            np.testing.assert_array_equal(got[infinite], rounded[infinite])
            finite = np.isfinite(rounded)
            error = ulps(got[finite].astype(np.float64), exact[finite])
        worst = np.argmax(error) if error.size else None
        assert worst is None or error[worst] <= stated(name), x[finite][worst]


@every_function
def test_special_values_are_numpys(name):
    tiny, denormal = np.finfo(np.float32).tiny, np.finfo(np.float32).smallest_subnormal
    large = np.finfo(np.float32).max
    x = np.array([0, np.inf, np.nan, denormal, tiny, large, 1, 88.7, 103.9], np.float32)
    x = np.concatenate([x, -x])
    with np.errstate(all="ignore"):
        want = FUNCTIONS[name][0](x.astype(np.float64)).astype(np.float32)
    got = compiled(name)(x)
    np.testing.assert_allclose(got, want, rtol=3e-7, atol=2 * denormal)
    if name in ("tanh", "erf", "log1p"):
        assert np.signbit(got[len(x) // 2]), "-0.0 stays -0.0"


@pytest.mark.parametrize("name", [*FUNCTIONS, "normal_cdf"])
@pytest.mark.parametrize("machine", OTHERS)
@pytest.mark.parametrize("lanes", [1, 4, 16])
def test_code_calls_nothing(name, machine, lanes):
    target = tvm.target.Target(OTHERS[machine])
    plain = plain_c(loop(name, lanes), "k", target).func
    module = tvm.get_global_func("target.build.llvm")(tvm.IRModule({"k": plain}), target)
    assert not re.search(CALLS[machine], module.inspect_source("asm"))


@pytest.mark.parametrize("host", HOSTS)
def test_normal_distribution_is_right_and_ends_at_0_and_1(host):
    run = compiled("normal_cdf", host)
    for x in operands(-7, 7):
        with np.errstate(all="ignore"):
            got, exact = run(x), special.ndtr(x.astype(np.float64))
        np.testing.assert_allclose(got, exact, rtol=0, atol=1.5e-7)
    ends = np.array([5.6, 9, 3e38, np.inf], np.float32)
    assert (run(ends) == 1).all()
    assert (run(-ends) == 0).all()


def test_float64_is_left_to_libm():
    x = te.placeholder((8,), "float64", name="x")
    func = te.create_prim_func([x, te.compute((8,), lambda i: tirx.exp(x[i]), name="y")])
    module = vector_math.expand()(tvm.IRModule({"k": func}))
    assert "T.exp" in module["k"].script()


def test_functions_of_functions_stay_small():
    """Values are bound once: a chain grows by its length, not by its length's power."""
    x = te.placeholder((8,), name="x")

    def chain(length: int) -> int:
        def value(i):
            result = x[i]
            for _ in range(length):
                result = tirx.tanh(tirx.exp(result))
            return result

        func = te.create_prim_func([x, te.compute((8,), value, name="y")])
        return len(vector_math.expand()(tvm.IRModule({"k": func}))["k"].script())

    assert chain(8) < 10 * chain(1)
