"""Recurrences beside ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from armlet.errors import UnsupportedModelError
from armlet.frontends.onnx import load

from .harness import check_like_onnxruntime, info, model, node, operators, random

INPUT, HIDDEN, BATCH = 4, 3, 2
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def recurrent(
    operator: str,
    steps: int = 5,
    direction: str = "forward",
    bias: bool = True,
    state: bool = True,
    peepholes: bool = False,
    **attributes: object,
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A model of one operator, and data for its inputs: x and the states."""
    count, rows = 2 if direction == "bidirectional" else 1, GATES[operator] * HIDDEN
    constants = {"w": random(count, rows, INPUT), "r": random(count, rows, HIDDEN, seed=1)}
    feeds = {"x": random(steps, BATCH, INPUT)}
    names = ["x", "w", "r", "b" if bias else "_", "_"]
    if bias:
        constants["b"] = random(count, 2 * rows, seed=2)
    states = ["h", "c"] if operator == "LSTM" else ["h"]
    for seed, name in enumerate(states):
        names.append(name if state else "_")
        if state:
            feeds[name] = random(count, BATCH, HIDDEN, seed=3 + seed)
    if peepholes:
        names.append("p")
        constants["p"] = random(count, 3 * HIDDEN, seed=9)
    outputs = " ".join(["y", *(f"{s}_last" for s in states)])
    proto = model(
        [
            node(
                operator,
                " ".join(names),
                outputs,
                hidden_size=HIDDEN,
                direction=direction,
                **attributes,
            )
        ],
        [info(k, v.shape) for k, v in feeds.items()],
        outputs,
        constants,
        opset=14,
    )
    return proto, feeds


@pytest.mark.parametrize("operator", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("state", [True, False])
def test_directions(operator: str, direction: str, steps: int, state: bool) -> None:
    check_like_onnxruntime(*recurrent(operator, steps, direction, state=state))


@pytest.mark.parametrize("operator", GATES)
def test_without_bias(operator: str) -> None:
    check_like_onnxruntime(*recurrent(operator, bias=False))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("state", [True, False])
def test_gru_linear_before_reset(bias: bool, state: bool) -> None:
    check_like_onnxruntime(*recurrent("GRU", bias=bias, state=state, linear_before_reset=1))


@pytest.mark.parametrize("state", [True, False])
def test_lstm_peepholes(state: bool) -> None:
    check_like_onnxruntime(*recurrent("LSTM", peepholes=True, state=state))


def test_other_activations() -> None:
    check_like_onnxruntime(
        *recurrent(
            "LSTM",
            activations=["HardSigmoid", "Relu", "LeakyRelu"],
            activation_alpha=[0.3, 0.05],
            activation_beta=[0.4],
        )
    )


def test_clip() -> None:
    check_like_onnxruntime(*recurrent("RNN", clip=0.4))


def test_the_input_is_multiplied_once_for_all_steps() -> None:
    module = load(recurrent("LSTM", steps=6, state=False)[0])
    assert operators(module).count("matmul") == 1


def test_long_sequences_are_one_call() -> None:
    module = check_like_onnxruntime(*recurrent("GRU", steps=300, linear_before_reset=1))
    assert operators(module).count("gru") == 1


def test_an_unknown_activation_is_named() -> None:
    with pytest.raises(UnsupportedModelError, match="attribute activations: 'Affine'"):
        load(recurrent("RNN", activations=["Affine"])[0])
