"""The handlers of ONNX operators: a handler's signature is its operator's schema.

    @handles("LeakyRelu")
    def leaky_relu(b: Emitter, x: Value, *, alpha: float = 0.01) -> Value:
        return b.call("leaky_relu", x, alpha=alpha)

``frontends/signature.py`` says how the parameters are read. A handler sees the newest form
of its operator only (``normalize.py``) and returns its outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from armlet.frontends.operands import Known
from armlet.frontends.signature import Parameter, Signature

from .node import Node


@dataclass(frozen=True)
class Handler(Signature):
    operator: str
    domain: str
    #: the opset that introduced the operator
    since: int

    def __call__(self, emitter: Any, node: Node) -> tuple[Any, ...]:
        keywords = self.bind_attributes(node.attributes)
        outputs = self.function(emitter, *self.bind_inputs(node.operands), **keywords)
        return outputs if isinstance(outputs, tuple) else (outputs,)


#: (domain, operator) -> handler
HANDLERS: dict[tuple[str, str], Handler] = {}


def handles(*operators: str, since: int = 1, domain: str = "") -> Callable[[Any], Any]:
    """Decorator: the function handles these operators."""

    def register(function: Any) -> Any:
        for operator in operators:
            key = (domain, operator)
            if key in HANDLERS:
                raise ValueError(f"{operator} has two handlers")
            HANDLERS[key] = Handler(function, operator, domain, since)
        return function

    return register


__all__ = ["HANDLERS", "Handler", "Known", "Parameter", "handles"]
