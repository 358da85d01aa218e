"""Every operator's record is complete, and its implementations agree with each other and ONNX."""

from __future__ import annotations

import numpy as np
import pytest

from armlet.compiler.ir import TensorType
from armlet.compiler.ops import OPERATORS

from . import independent, onnx_oracle
from .harness import assert_close, compile_samples, evaluate

every_operator = pytest.mark.parametrize("name", sorted(OPERATORS))


def samples_of(name):
    return list(OPERATORS[name].samples())


@every_operator
def test_record_has_documentation_and_samples(name):
    record = OPERATORS[name]
    assert record.__doc__
    assert not record.__doc__.startswith(f"{record.__name__}("), "dataclass made this docstring"
    assert samples_of(name)


@every_operator
def test_inferred_type_is_that_of_the_evaluation(name):
    for sample in samples_of(name):
        inferred = sample.op.infer([TensorType.of(a) for a in sample.operands])
        assert inferred == tuple(TensorType.of(r) for r in evaluate(sample)), sample.op


@every_operator
def test_kernel_agrees_with_the_evaluation(name):
    samples = samples_of(name)
    for sample, kernel in zip(samples, compile_samples(samples)):
        for got, want in zip(kernel(*sample.operands), evaluate(sample), strict=True):
            assert_close(got, want, sample)


@every_operator
def test_evaluation_agrees_with_an_independent_answer(name):
    compared = 0
    for sample in samples_of(name):
        (got,) = evaluate(sample)
        if name in independent.ANSWERS:
            with np.errstate(all="ignore"):
                want, visible = independent.answer(sample.op, sample.operands)
            got = visible(got)
        else:
            try:
                want = onnx_oracle.answer(sample.op, sample.operands)
            except onnx_oracle.NotInOnnxRuntimeError:
                continue
        assert_close(got, want, sample, least=1e-5)
        compared += 1
    assert compared, "no sample has an independent answer"


@every_operator
def test_wrong_number_of_operands_is_a_type_error(name):
    sample = samples_of(name)[0]
    if name in ("concat", "concat_view"):
        pytest.skip("takes any number")
    with pytest.raises(TypeError):
        sample.op.infer([TensorType.of(np.zeros(1, "float32"))] * 9)
