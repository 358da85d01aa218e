"""Compiles operators the plainest way, and compares arrays as operators promise to agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tvm
from tvm import te

from armlet.compiler.ops import Fusion, Sample, vector_math
from armlet.compiler.ops.lazy import tirx

Kernel = Callable[..., tuple[np.ndarray, ...]]


def results(value: object) -> tuple[np.ndarray, ...]:
    """What ``evaluate`` returned, as arrays."""
    return tuple(np.asarray(v) for v in (value if isinstance(value, tuple) else (value,)))


def evaluate(sample: Sample) -> tuple[np.ndarray, ...]:
    with np.errstate(all="ignore"):
        return results(sample.op.evaluate(*sample.operands))


def prim_func(sample: Sample) -> object:
    inputs = [
        te.placeholder(a.shape, a.dtype.name, name=f"x{i}") for i, a in enumerate(sample.operands)
    ]
    outputs = sample.op.compute(*inputs)
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return te.create_prim_func([*inputs, *outputs])


def build(functions: dict[str, object], target: object = "llvm") -> object:
    """A runtime module; TVM's own pipeline, with our expansion of transcendental functions."""
    host = tvm.target.Target(target)
    pipeline, finalize, _ = tirx.get_tir_pipeline("s_tir")
    module = tvm.IRModule({n: f.with_attr("global_symbol", n) for n, f in functions.items()})
    module = pipeline(tirx.transform.BindTarget(host.with_host(host))(module))
    module = finalize()(vector_math.expand()(module))
    return tvm.get_global_func("target.build.llvm")(module, host)


def compile_samples(samples: Sequence[Sample]) -> list[Kernel]:
    """One kernel for each sample, unscheduled, compiled together."""
    names = [f"sample{i}" for i in range(len(samples))]
    built = build({n: prim_func(s) for n, s in zip(names, samples)})
    library = tvm.runtime.Executable(built).jit()

    def kernel(name: str, sample: Sample) -> Kernel:
        types = sample.op.infer([_type(a) for a in sample.operands])

        def run(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
            outputs = [np.empty(t.static_shape, t.dtype) for t in types]
            tensors = [tvm.runtime.tensor(a) for a in (*arrays, *outputs)]
            library[name](*tensors)
            return tuple(t.numpy() for t in tensors[len(arrays) :])

        return run

    return [kernel(n, s) for n, s in zip(names, samples)]


def _type(array: np.ndarray) -> object:
    from armlet.compiler.ir import TensorType

    return TensorType.of(array)


def assert_close(got: np.ndarray, want: np.ndarray, sample: Sample, least: float = 0.0) -> None:
    """Equal NaN and infinities; floats within the sample's tolerance (at least ``least``).

    The tolerance is relative to the largest magnitude, or, where elements do not mix, to each
    element (or to 0.1 below that).
    """
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want)
        return
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    special = ~np.isfinite(want)
    np.testing.assert_array_equal(got[special], want[special])
    got, want = (np.where(special, 0, a).astype(np.float64) for a in (got, want))
    size = np.abs(want)
    scale = np.maximum(size, 0.1) if sample.op.fusion is Fusion.ELEMENTWISE else size.max(initial=0)
    excess = np.abs(got - want) - max(sample.tolerance, least) * scale
    worst = np.unravel_index(np.argmax(excess), excess.shape) if excess.size else ()
    assert not excess.size or excess[worst] <= 0, f"{got[worst]} is not {want[worst]} at {worst}"
