"""BERT-small (arXiv:1908.08962): four layers, hidden size 512, eight heads, 128 tokens."""

from __future__ import annotations

from onnx import ModelProto, TensorProto

from .tensor import Graph, Tensor, outputs

VOCABULARY, HIDDEN, HEADS, LAYERS = 30522, 512, 8, 4


def attention(x: Tensor) -> Tensor:
    _, tokens, hidden = x.shape
    size = hidden // HEADS
    query, key, value = (x.linear(hidden).reshape(1, tokens, HEADS, size) for _ in range(3))
    scores = query.transpose(0, 2, 1, 3).op("MatMul", key.transpose(0, 2, 3, 1)) / size**0.5
    mixed = scores.softmax().op("MatMul", value.transpose(0, 2, 1, 3))
    return mixed.transpose(0, 2, 1, 3).reshape(1, tokens, hidden).linear(hidden)


def layer(x: Tensor) -> Tensor:
    x = (x + attention(x)).layer_norm()
    return (x + x.linear(4 * x.shape[-1]).gelu().linear(x.shape[-1])).layer_norm()


def bert(tokens: int = 128) -> ModelProto:
    graph = Graph()
    ids = graph.input("tokens", (1, tokens), TensorProto.INT64)
    words = graph.weights(VOCABULARY, HIDDEN, gain=1, fan_in=1)
    positions = graph.weights(1, tokens, HIDDEN, gain=1, fan_in=1)
    table = Tensor(graph, graph.constant(words), words.shape)
    x = table.op("Gather", ids).op("Add", positions).layer_norm()
    for _ in range(LAYERS):
        x = layer(x)
    return outputs("bert", hidden=x)
