"""Every operator's own samples, each as a kernel by whatever template takes it."""

from __future__ import annotations

import numpy as np
import pytest

from armlet.compiler.ops.registry import OPERATORS, Fusion, Op
from tests.thorough import thinned

from .harness import Net, close, compiled

NAMES = sorted(n for n, record in OPERATORS.items() if record.fusion is not Fusion.VIEW)
#: records whose kernels are linked together
TOGETHER = 8


def net_of(op: Op, operands: tuple[np.ndarray, ...]) -> Net:
    net = Net()
    # operands of one element become immediates
    values = [net.builder.const(o, "c") if o.size == 1 else net.x(data=o) for o in operands]
    net.call(op, *values)
    return net


@pytest.mark.parametrize("first", range(0, len(NAMES), TOGETHER))
def test_kernels_do_what_numpy_does(first):
    names = NAMES[first : first + TOGETHER]
    samples = [(n, s) for n in names for s in thinned(list(OPERATORS[n].samples()))]
    nets = [net_of(s.op, s.operands) for _, s in samples]
    groups = [net.group() for net in nets]
    kernels, library = compiled(groups)
    wrong = []
    for (name, sample), net, group, kernel in zip(samples, nets, groups, kernels):
        tolerance = max(sample.tolerance, 2e-3 if group.output.type.dtype == "float16" else 0)
        for cuts in ((), (1, 3)):
            got = library.run(kernel, net.inputs(), group.output.type, cuts)
            if not close(got, net.expected(), tolerance):
                shapes = [o.shape for o in sample.operands]
                wrong.append(f"{name} {sample.op} {shapes} by {kernel.template}, cut at {cuts}")
    assert not wrong, "\n".join(wrong)
