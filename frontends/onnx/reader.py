"""From a path to a ``ModelProto`` whose graph is sound: one clear error for each way it is not."""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError, Message

from armlet.errors import ModelFileError, UnsupportedModelError
from armlet.frontends.files import read_bytes

#: the opsets of the default domain that the handlers know
OLDEST_OPSET, NEWEST_OPSET = 7, 28
#: the IR versions of model files that are understood
NEWEST_IR = 14

_EXPORT_AGAIN = "export or download the model again"


def read(path: Path) -> onnx.ModelProto:
    """The model in a file, without its external data."""
    data = read_bytes(path, ".onnx")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise ModelFileError(
            "this is not an ONNX model, or only a part of one",
            where=str(path),
            way_out=_EXPORT_AGAIN,
        ) from None
    check_header(model, path)
    return model


def opsets(model: onnx.ModelProto | onnx.FunctionProto) -> dict[str, int]:
    """The version of each domain ("" is ONNX's own)."""
    return {domain(o.domain): o.version for o in model.opset_import}


def domain(domain: str) -> str:
    """The domain, "" for ONNX's own."""
    return "" if domain == "ai.onnx" else domain


def check_header(model: onnx.ModelProto, path: Path) -> None:
    """A graph there must be, with names that are text, of versions that are known."""
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise ModelFileError(
            "this is not an ONNX model: it has no graph", where=str(path), way_out=_EXPORT_AGAIN
        )
    check_text(model, path)
    if not model.opset_import:
        raise ModelFileError(
            "the model does not say which opset it uses", where=str(path), way_out=_EXPORT_AGAIN
        )
    if not 1 <= model.ir_version <= NEWEST_IR:
        raise UnsupportedModelError(
            f"the file is of IR version {model.ir_version}; known are 1 to {NEWEST_IR}",
            where=str(path),
            way_out=_EXPORT_AGAIN,
        )
    version = opsets(model).get("")
    if version is not None and not OLDEST_OPSET <= version <= NEWEST_OPSET:
        raise UnsupportedModelError(
            f"the model uses opset {version}; known are {OLDEST_OPSET} to {NEWEST_OPSET}",
            where=str(path),
            way_out=f"export it with opset 17, or convert it: "
            f"onnx.version_converter.convert_version(model, {17})",
        )


def check_text(model: onnx.ModelProto, path: Path) -> None:
    """Every name must be text: the parser hands out others as bytes."""
    messages: list[Any] = [model]
    while messages:
        message = messages.pop()
        if isinstance(message, onnx.TensorProto):
            # its other fields hold data, which is not to be copied
            texts: list[Any] = [message.name]
            messages.extend(message.external_data)
        else:
            texts = []
            for field, value in message.ListFields():
                if field.type == field.TYPE_STRING:
                    texts += [value] if isinstance(value, (str, bytes)) else value
                elif field.type == field.TYPE_MESSAGE:
                    messages += [value] if isinstance(value, Message) else value
        if not all(isinstance(text, str) for text in texts):
            raise ModelFileError(
                "a name in the model is not UTF-8 text", where=str(path), way_out=_EXPORT_AGAIN
            )


def node_name(node: onnx.NodeProto) -> str:
    """The node's name, or its first output's where it has none."""
    return node.name or next((o for o in node.output if o), node.op_type)


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """The names that a node reads, those that its subgraphs take from outside included."""
    yield from (i for i in node.input if i)
    for graph in subgraphs(node):
        own = {i.name for i in graph.input} | {t.name for t in graph.initializer}
        own.update(o for n in graph.node for o in n.output)
        inner = [r for n in graph.node for r in reads(n)] + [o.name for o in graph.output]
        yield from (r for r in inner if r not in own)


def ordered(
    nodes: Iterable[onnx.NodeProto],
    own: Container[str],
    outer: Container[str],
    wanted: Iterable[str],
    where: str,
) -> list[onnx.NodeProto]:
    """The nodes in an order in which each reads what exists; the file's own where it can be.

    ``own`` are the inputs and initialisers of the graph, ``outer`` the names around it,
    ``wanted`` its outputs.
    """
    nodes = list(nodes)
    producers: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for output in filter(None, node.output):
            if output in producers or output in own:
                raise ModelFileError(
                    f"tensor {output!r} is defined twice, by {node_name(node)!r} too", where=where
                )
            producers[output] = index

    def undefined(name: str) -> bool:
        return name not in producers and name not in own and name not in outer

    missing = [f"{node_name(n)!r} reads {r!r}" for n in nodes for r in reads(n) if undefined(r)]
    missing += [f"the graph returns {o!r}" for o in wanted if undefined(o)]
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if missing[5:] else "")
        raise ModelFileError(f"undefined tensors: {shown}", where=where, way_out=_EXPORT_AGAIN)
    return _sorted(nodes, producers, where)


def _sorted(
    nodes: list[onnx.NodeProto], producers: dict[str, int], where: str
) -> list[onnx.NodeProto]:
    needs = [{producers[r] for r in reads(n) if r in producers} for n in nodes]
    if all(max(need, default=-1) < index for index, need in enumerate(needs)):
        return nodes
    readers: list[list[int]] = [[] for _ in nodes]
    for index, need in enumerate(needs):
        for producer in need:
            readers[producer].append(index)
    waiting = [len(need) for need in needs]
    ready = [index for index, count in enumerate(waiting) if count == 0]
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for reader in readers[index]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):
        cycle = [repr(node_name(n)) for i, n in enumerate(nodes) if waiting[i]]
        raise ModelFileError(f"the graph has a cycle through {', '.join(cycle[:5])}", where=where)
    return [nodes[i] for i in order]
