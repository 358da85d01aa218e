"""The intermediate representation: types, nodes, text form, verifier, rewriting.

Imports nothing else of ours. Start at ``nodes.py``; ``printer.py`` shows the text form.
"""

from .builder import Builder
from .nodes import Call, Const, Function, Module, Operator, Value, Var
from .parser import parse_function
from .pattern import Match, any_, call, const, scalar
from .printer import print_function
from .rewriter import Rules, remove_dead, rewrite, transform
from .structural import canonical_text, structural_equal, structural_hash
from .types import Dim, Dimension, Shape, TensorType
from .verifier import VerifyError, verify

__all__ = [
    "Builder", "Call", "Const", "Dim", "Dimension", "Function", "Match", "Module", "Operator",
    "Rules", "Shape", "TensorType", "Value", "Var", "VerifyError", "any_", "call",
    "canonical_text", "const", "parse_function", "print_function", "remove_dead", "rewrite",
    "scalar", "structural_equal", "structural_hash", "transform", "verify",
]  # fmt: skip
