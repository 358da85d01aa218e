"""A handler's signature as its operator's schema: binds what a file gives, or refuses it.

Positional parameters are the inputs: a ``Value`` may be anything, a ``Const`` must be known
at compile time, a ``Known`` is a ``Const`` or a shape with free dimensions; ``| None``
makes it optional. Keyword-only parameters are the attributes.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Union

import numpy as np

from armlet.compiler.ir import Const, Var

from .operands import FreeDimension, Operand, Symbolic, Unsupported

#: what an attribute is called in messages, by the type of its parameter
_KINDS: dict[Any, str] = {
    int: "an integer",
    float: "a number",
    str: "a string",
    tuple[int, ...]: "integers",
    tuple[float, ...]: "numbers",
    tuple[str, ...]: "strings",
    np.ndarray: "a tensor",
}


@dataclass(frozen=True)
class Parameter:
    """An input (``accepts`` a set of value classes) or an attribute (of type ``kind``)."""

    name: str
    kind: Any
    accepts: frozenset[type]
    required: bool


def _parameter(parameter: inspect.Parameter, hint: Any) -> Parameter:
    union = typing.get_origin(hint) in (Union, type(int | str))
    members = typing.get_args(hint) if union else (hint,)
    real = [m for m in members if m is not type(None)]
    classes = frozenset(m for m in real if isinstance(m, type))
    required = parameter.default is inspect.Parameter.empty and type(None) not in members
    return Parameter(parameter.name, real[0], classes, required)


@dataclass(frozen=True)
class Signature:
    """What a handler, ``function``, takes."""

    function: Callable[..., Any]

    @cached_property
    def _signature(self) -> tuple[list[Parameter], Parameter | None, dict[str, Parameter]]:
        hints = typing.get_type_hints(self.function)
        inputs, variadic, attributes = [], None, {}
        for parameter in list(inspect.signature(self.function).parameters.values())[1:]:
            made = _parameter(parameter, hints[parameter.name])
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                variadic = made
            elif parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                attributes[made.name] = made
            else:
                inputs.append(made)
        return inputs, variadic, attributes

    @property
    def inputs(self) -> list[Parameter]:
        return self._signature[0]

    @property
    def variadic(self) -> Parameter | None:
        return self._signature[1]

    @property
    def attributes(self) -> dict[str, Parameter]:
        return self._signature[2]

    def bind_attributes(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The attributes as keyword arguments; unknown, missing and mistyped ones are refused."""
        for name in given:
            if name not in self.attributes:
                raise Unsupported("the attribute is unknown", attribute=name)
        for name, parameter in self.attributes.items():
            if parameter.required and name not in given:
                raise Unsupported("the attribute is missing", attribute=name)
        return {n: _attribute(self.attributes[n], value) for n, value in given.items()}

    def bind_inputs(self, given: Sequence[Operand | None]) -> list[Operand | None]:
        """The inputs as positional arguments."""
        given = list(given)
        while given and given[-1] is None:
            given.pop()
        known = len(self.inputs)
        if len(given) > known and self.variadic is None:
            raise Unsupported(f"it has {len(given)} inputs; at most {known} are known")
        for index, parameter in enumerate(self.inputs):
            if parameter.required and (index >= len(given) or given[index] is None):
                raise Unsupported(f"input {index} ({parameter.name}) is missing")
        for index, value in enumerate(given):
            if value is None and index >= known:
                raise Unsupported(f"input {index} is missing")
            wanted = self.inputs[index] if index < known else self.variadic
            assert wanted is not None
            _check_input(wanted, value)
        return given


def _attribute(parameter: Parameter, value: Any) -> Any:
    kind = parameter.kind
    origin, members = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        if value == ():
            return value
        fits = isinstance(value, tuple) and all(type(v) is members[0] for v in value)
    else:
        fits = type(value) is kind or (kind is np.ndarray and isinstance(value, np.ndarray))
    if not fits:
        wanted = _KINDS.get(kind, "something else")
        raise Unsupported(f"{wanted} expected, found {value!r:.60}", attribute=parameter.name)
    return value


def _check_input(parameter: Parameter, value: Operand | None) -> None:
    if value is None or type(value) in parameter.accepts:
        return
    if isinstance(value, Symbolic):
        raise FreeDimension(f"its input {parameter.name} depends on", value.free)
    if isinstance(value, Var) and Const in parameter.accepts:
        raise Unsupported(
            f"its input {parameter.name} is computed from the model's input; "
            "it must be known at compile time"
        )
    raise TypeError(f"{parameter.name} is a {type(value).__name__}")
