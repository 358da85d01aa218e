"""Every operator against LiteRT's own kernel, over shapes and options."""

from __future__ import annotations

import inspect

import pytest
import tflite

from armlet.compiler.ops.registry import OPERATORS
from armlet.frontends.tflite.refused import REASONS
from armlet.frontends.tflite.registry import DECLARED, HANDLERS, Handler
from armlet.frontends.tflite.tables import names_of, options_of

from .cases import CASES
from .harness import check_like_litert, one


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{kind}-{number}" for number, (kind, *_) in enumerate(CASES)]
)
def test_the_answer_is_that_of_litert(case):
    kind, operands, more = case
    data, feeds = one(kind, operands, **more)
    check_like_litert(data, feeds)


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
class TestHandler:
    def test_it_is_an_operator_of_the_schema(self, handler: Handler) -> None:
        known = names_of(tflite.BuiltinOperator).values()
        assert handler.operator in known or handler.operator == "Convolution2DTransposeBias"
        assert handler.operator not in REASONS

    def test_options_are_those_of_the_schema(self, handler: Handler) -> None:
        known = options_of(handler.options) if handler.options else frozenset()
        given = set(handler.attributes) - set(DECLARED) - {"custom_options"}
        assert given == known

    def test_operators_that_it_makes_exist(self, handler: Handler) -> None:
        for name in _named(inspect.getsource(handler.function)):
            assert name in OPERATORS


def _named(source: str) -> list[str]:
    """The operators that are called by a name in quotes."""
    return [part.split('"')[0] for part in source.split('b.call("')[1:]]
