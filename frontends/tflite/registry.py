"""The handlers of TFLite's built-in operators: a handler's signature is its operator's schema.

    @handles("LEAKY_RELU", options=tflite.LeakyReluOptions)
    def leaky_relu(b: Emitter, x: Value, *, alpha: float) -> Value:
        return b.call("leaky_relu", x, alpha=alpha)

``frontends/signature.py`` says how the parameters are read. The keyword-only ones are the
fields of ``options``; a handler that needs what the file says of its tensors takes it as
``inputs`` or ``outputs``. It returns its outputs. Custom operators go by their code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from armlet.frontends.operands import Known
from armlet.frontends.signature import Signature

#: parameters that are no options
DECLARED = ("inputs", "outputs")


@dataclass(frozen=True)
class Handler(Signature):
    operator: str
    #: the schema's class of its options
    options: type | None


#: operator -> handler
HANDLERS: dict[str, Handler] = {}
#: operator -> handler, of calls that have quantised operands or results
INTEGERS: dict[str, Handler] = {}


def handles(*operators: str, options: type | None = None) -> Callable[[Any], Any]:
    """Decorator: the function handles these operators."""
    return _registering(HANDLERS, operators, options)


def handles_integers(*operators: str, options: type | None = None) -> Callable[[Any], Any]:
    """Decorator: the function handles these operators where tensors are quantised."""
    return _registering(INTEGERS, operators, options)


def _registering(
    table: dict[str, Handler], operators: Sequence[str], options: type | None
) -> Callable[[Any], Any]:
    def register(function: Any) -> Any:
        for operator in operators:
            if operator in table:
                raise ValueError(f"{operator} has two handlers")
            table[operator] = Handler(function, operator, options)
        return function

    return register


__all__ = ["HANDLERS", "INTEGERS", "Handler", "Known", "handles", "handles_integers"]
