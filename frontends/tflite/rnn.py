"""LSTM and RNN: a product for all steps at once, then the recurrence (``ops/recurrent.py``).

The states that TFLite keeps in variables are zero at the start of every run.
"""

from __future__ import annotations

from collections.abc import Sequence

import tflite

from armlet.compiler.ir import Value
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported

from .registry import handles

_Fused = tflite.ActivationFunctionType
ACTIVATIONS = {_Fused.TANH: "tanh", _Fused.RELU: "relu"}


def _activation(function: int) -> str:
    if function not in ACTIVATIONS:
        raise Unsupported(f"{function} is not supported", attribute="fused_activation_function")
    return ACTIVATIONS[function]


def _recurrence(
    b: Emitter,
    operator: str,
    x: Value,
    w: Sequence[Value],
    r: Sequence[Value],
    bias: Sequence[Value],
    states: Sequence[Value],
    activations: tuple[str, ...],
    time_major: bool,
    reverse: bool = False,
) -> Value:
    """The states of every step, laid out as ``x`` is; one weight for each gate."""
    x = x if time_major else b.transpose(x, (1, 0, 2))
    steps, batch, inputs = b.static(x)
    hidden = b.static(r[0])[0]
    gates = len(w)
    product = b.call(
        "matmul",
        b.reshape(x, (steps * batch, inputs)),
        b.transpose(b.concat(list(w), 0), (1, 0)),
    )
    share = b.call("add", product, b.concat(list(bias), 0))
    share = b.reshape(share, (steps, batch, gates * hidden))
    recurrent = b.transpose(b.concat(list(r), 0), (1, 0))
    zeros = (0.0,) * len(activations)
    found = b.call(
        operator,
        share,
        *states,
        b.reshape(recurrent, (1, hidden, gates, hidden)),
        reverse=reverse,
        activations=activations,
        alphas=zeros,
        betas=zeros,
        clip=0.0,
    )
    y = b.slice(found, 0, 0 if reverse else 1, steps)
    return y if time_major else b.transpose(y, (1, 0, 2))


def _lstm(
    b: Emitter,
    x: Value,
    weights: Sequence[Value | None],
    states: tuple[Value, Value],
    function: int,
    clips: tuple[float, float],
    time_major: bool,
    reverse: bool = False,
) -> Value:
    """``weights`` are the seventeen operands that follow the input in TFLite's order."""
    w, r, peepholes, bias = weights[:4], weights[4:8], weights[8:11], weights[11:15]
    if weights[15] is not None or weights[16] is not None or any(clips):
        raise Unsupported("projections and clipped states are not supported")
    if any(v is None for v in (*w, *r, *bias)):
        raise Unsupported("coupled input and forget gates are not supported")
    # ours are in the order input, output, forget, cell; TFLite's input, forget, cell, output
    order = (0, 3, 1, 2)
    operands = list(states)
    given = [p for p in peepholes if p is not None]
    if len(given) == 3:
        operands.append(b.concat([given[i] for i in (0, 2, 1)], 0))
    elif given:
        raise Unsupported(f"{len(given)} peepholes")
    cell = _activation(function)
    return _recurrence(
        b, "lstm", x,
        [v for i in order if (v := w[i]) is not None],
        [v for i in order if (v := r[i]) is not None],
        [v for i in order if (v := bias[i]) is not None],
        operands, ("sigmoid", cell, cell), time_major, reverse,
    )  # fmt: skip


@handles("UNIDIRECTIONAL_SEQUENCE_LSTM", options=tflite.UnidirectionalSequenceLSTMOptions)
def unidirectional_sequence_lstm(
    b: Emitter, x: Value, w_input: Value | None, w_forget: Value, w_cell: Value, w_output: Value,
    r_input: Value | None, r_forget: Value, r_cell: Value, r_output: Value, p_input: Value | None,
    p_forget: Value | None, p_output: Value | None, b_input: Value | None, b_forget: Value,
    b_cell: Value, b_output: Value, projection: Value | None, b_projection: Value | None,
    h: Value, c: Value, n_input: Value | None = None, n_forget: Value | None = None,
    n_cell: Value | None = None, n_output: Value | None = None,
    *, fused_activation_function: int = 0, cell_clip: float = 0.0, proj_clip: float = 0.0,
    time_major: bool = False, asymmetric_quantize_inputs: bool = False,
    diagonal_recurrent_tensors: bool = False,
) -> Value:  # fmt: skip
    if diagonal_recurrent_tensors or any(v is not None for v in (n_input, n_forget, n_cell)):
        raise Unsupported("normalised gates and diagonal weights are not supported")
    weights = [
        w_input, w_forget, w_cell, w_output, r_input, r_forget, r_cell, r_output, p_input,
        p_forget, p_output, b_input, b_forget, b_cell, b_output, projection, b_projection,
    ]  # fmt: skip
    clips = cell_clip, proj_clip
    return _lstm(b, x, weights, (h, c), fused_activation_function, clips, time_major)


@handles("BIDIRECTIONAL_SEQUENCE_LSTM", options=tflite.BidirectionalSequenceLSTMOptions)
def bidirectional_sequence_lstm(
    b: Emitter, x: Value, fw_w_input: Value | None, fw_w_forget: Value, fw_w_cell: Value,
    fw_w_output: Value, fw_r_input: Value | None, fw_r_forget: Value, fw_r_cell: Value,
    fw_r_output: Value, fw_p_input: Value | None, fw_p_forget: Value | None,
    fw_p_output: Value | None, fw_b_input: Value | None, fw_b_forget: Value, fw_b_cell: Value,
    fw_b_output: Value, fw_projection: Value | None, fw_b_projection: Value | None,
    bw_w_input: Value | None, bw_w_forget: Value, bw_w_cell: Value, bw_w_output: Value,
    bw_r_input: Value | None, bw_r_forget: Value, bw_r_cell: Value, bw_r_output: Value,
    bw_p_input: Value | None, bw_p_forget: Value | None, bw_p_output: Value | None,
    bw_b_input: Value | None, bw_b_forget: Value, bw_b_cell: Value, bw_b_output: Value,
    bw_projection: Value | None, bw_b_projection: Value | None, fw_h: Value, fw_c: Value,
    bw_h: Value, bw_c: Value, auxiliary: Value | None = None,
    *, fused_activation_function: int = 0, cell_clip: float = 0.0, proj_clip: float = 0.0,
    merge_outputs: bool = False, time_major: bool = True,
    asymmetric_quantize_inputs: bool = False,
) -> Value | tuple[Value, ...]:  # fmt: skip
    if auxiliary is not None:
        raise Unsupported("an auxiliary input is not supported")
    if merge_outputs and not time_major:
        # LiteRT's kernel writes one direction over the other
        raise Unsupported("it is supported where time is the first axis", attribute="merge_outputs")
    forwards = [
        fw_w_input, fw_w_forget, fw_w_cell, fw_w_output, fw_r_input, fw_r_forget, fw_r_cell,
        fw_r_output, fw_p_input, fw_p_forget, fw_p_output, fw_b_input, fw_b_forget, fw_b_cell,
        fw_b_output, fw_projection, fw_b_projection,
    ]  # fmt: skip
    backwards = [
        bw_w_input, bw_w_forget, bw_w_cell, bw_w_output, bw_r_input, bw_r_forget, bw_r_cell,
        bw_r_output, bw_p_input, bw_p_forget, bw_p_output, bw_b_input, bw_b_forget, bw_b_cell,
        bw_b_output, bw_projection, bw_b_projection,
    ]  # fmt: skip
    function, clips = fused_activation_function, (cell_clip, proj_clip)
    found = (
        _lstm(b, x, forwards, (fw_h, fw_c), function, clips, time_major),
        _lstm(b, x, backwards, (bw_h, bw_c), function, clips, time_major, reverse=True),
    )
    return b.concat(found, 2) if merge_outputs else found


@handles("LSTM", options=tflite.LSTMOptions)
def lstm(
    b: Emitter, x: Value, w_input: Value | None, w_forget: Value, w_cell: Value, w_output: Value,
    r_input: Value | None, r_forget: Value, r_cell: Value, r_output: Value, p_input: Value | None,
    p_forget: Value | None, p_output: Value | None, b_input: Value | None, b_forget: Value,
    b_cell: Value, b_output: Value, projection: Value | None, b_projection: Value | None,
    h: Value, c: Value,
    *, fused_activation_function: int = 0, cell_clip: float = 0.0, proj_clip: float = 0.0,
    kernel_type: int = 0, asymmetric_quantize_inputs: bool = False,
) -> Value:  # fmt: skip
    """One step."""
    if kernel_type:
        raise Unsupported("the basic kernel is not supported", attribute="kernel_type")
    weights = [
        w_input, w_forget, w_cell, w_output, r_input, r_forget, r_cell, r_output, p_input,
        p_forget, p_output, b_input, b_forget, b_cell, b_output, projection, b_projection,
    ]  # fmt: skip
    step = b.reshape(x, (1, *x.type.shape))
    clips = cell_clip, proj_clip
    y = _lstm(b, step, weights, (h, c), fused_activation_function, clips, time_major=True)
    return b.reshape(y, y.type.shape[1:])


@handles("UNIDIRECTIONAL_SEQUENCE_RNN", options=tflite.SequenceRNNOptions)
def unidirectional_sequence_rnn(
    b: Emitter,
    x: Value,
    w: Value,
    r: Value,
    bias: Value,
    h: Value,
    *,
    time_major: bool = False,
    fused_activation_function: int = 0,
    asymmetric_quantize_inputs: bool = False,
) -> Value:
    functions = (_activation(fused_activation_function),)
    return _recurrence(b, "rnn", x, [w], [r], [bias], [h], functions, time_major)


@handles("BIDIRECTIONAL_SEQUENCE_RNN", options=tflite.BidirectionalSequenceRNNOptions)
def bidirectional_sequence_rnn(
    b: Emitter,
    x: Value,
    fw_w: Value,
    fw_r: Value,
    fw_bias: Value,
    fw_h: Value,
    bw_w: Value,
    bw_r: Value,
    bw_bias: Value,
    bw_h: Value,
    auxiliary: Value | None = None,
    fw_auxiliary: Value | None = None,
    bw_auxiliary: Value | None = None,
    *,
    time_major: bool = False,
    fused_activation_function: int = 0,
    merge_outputs: bool = False,
    asymmetric_quantize_inputs: bool = False,
) -> Value | tuple[Value, ...]:
    if auxiliary is not None:
        raise Unsupported("an auxiliary input is not supported")
    functions = (_activation(fused_activation_function),)
    found = (
        _recurrence(b, "rnn", x, [fw_w], [fw_r], [fw_bias], [fw_h], functions, time_major),
        _recurrence(b, "rnn", x, [bw_w], [bw_r], [bw_bias], [bw_h], functions, time_major, True),
    )
    return b.concat(found, 2) if merge_outputs else found


@handles("RNN", options=tflite.RNNOptions)
def rnn(
    b: Emitter,
    x: Value,
    w: Value,
    r: Value,
    bias: Value,
    h: Value,
    *,
    fused_activation_function: int = 0,
    asymmetric_quantize_inputs: bool = False,
) -> Value:
    """One step."""
    functions = (_activation(fused_activation_function),)
    step = b.reshape(x, (1, *x.type.shape))
    y = _recurrence(b, "rnn", step, [w], [r], [bias], [h], functions, time_major=True)
    return b.reshape(y, y.type.shape[1:])
