"""Why operators without a handler are not supported, in words that help."""

from __future__ import annotations

from armlet.frontends.operands import Unsupported

from .model import Operator

_QUANTIZED = (
    "quantised arithmetic is not supported",
    "compile the float model that it was made from",
)
_CONTROL = (
    "control flow over the model's data is not supported",
    "export the model without loops, or unrolled",
)
_STATE = (
    "variables that keep their value from run to run are not supported",
    "make them inputs and outputs of the model",
)
_DATA_SIZED = (
    "the size of its result depends on the data",
    "leave this step to the application, after the model",
)
_RANDOM = ("random numbers are not supported", "make them an input of the model")
_STRINGS = ("strings and hash tables are not supported", "leave text to the application")
_SPACE = ("three spatial axes are not supported", "")
_COMPLEX = ("complex numbers are not supported", "leave this step to the application")
_SCATTER = ("scattered writes are not supported", "")
_BITS = ("bit arithmetic is not supported", "")

#: operator -> (reason, way out)
REASONS = {
    "QUANTIZE": _QUANTIZED, "FAKE_QUANT": _QUANTIZED,
    "WHILE": _CONTROL, "CALL": _CONTROL, "STABLEHLO_WHILE": _CONTROL,
    "SVDF": _STATE,
    "NON_MAX_SUPPRESSION_V4": _DATA_SIZED, "NON_MAX_SUPPRESSION_V5": _DATA_SIZED,
    "UNIQUE": _DATA_SIZED,
    "RANDOM_STANDARD_NORMAL": _RANDOM, "RANDOM_UNIFORM": _RANDOM, "MULTINOMIAL": _RANDOM,
    "STABLEHLO_RNG_BIT_GENERATOR": _RANDOM,
    "HASHTABLE": _STRINGS, "HASHTABLE_FIND": _STRINGS, "HASHTABLE_IMPORT": _STRINGS,
    "HASHTABLE_SIZE": _STRINGS, "HASHTABLE_LOOKUP": _STRINGS, "LSH_PROJECTION": _STRINGS,
    "SKIP_GRAM": _STRINGS,
    "CONV_3D": _SPACE, "CONV_3D_TRANSPOSE": _SPACE,
    "RFFT2D": _COMPLEX, "IMAG": _COMPLEX, "REAL": _COMPLEX, "COMPLEX_ABS": _COMPLEX,
    "SCATTER_ND": _SCATTER, "SPARSE_TO_DENSE": _SCATTER, "STABLEHLO_SCATTER": _SCATTER,
    "UNSORTED_SEGMENT_PROD": _SCATTER, "UNSORTED_SEGMENT_MAX": _SCATTER,
    "UNSORTED_SEGMENT_SUM": _SCATTER, "UNSORTED_SEGMENT_MIN": _SCATTER,
    "BITCAST": _BITS, "BITWISE_XOR": _BITS, "RIGHT_SHIFT": _BITS,
    "STABLEHLO_SHIFT_LEFT": _BITS,
    "DELEGATE": ("the file was prepared for one device", "take the file before that step"),
}  # fmt: skip


def reason_for(operator: Operator) -> Unsupported:
    """Why an operator is not supported."""
    if operator.custom:
        if operator.kind.startswith("Flex"):
            way_out = "convert the model with built-in operators only"
            return Unsupported("operators of TensorFlow itself are not supported", way_out=way_out)
        return Unsupported(
            "the custom operator is not known",
            way_out="convert the model with built-in operators only",
        )
    reason, way_out = REASONS.get(operator.kind, ("the operator is not supported", ""))
    return Unsupported(reason, way_out=way_out)
