"""Why operators without a handler are not supported, in words that help."""

from __future__ import annotations

import difflib

from armlet.frontends.operands import Unsupported

from .registry import HANDLERS

_CONTROL = (
    "control flow over the model's data is not supported",
    "export the model without loops, or unrolled",
)
_DATA_SIZED = (
    "the size of its result depends on the data",
    "leave this step to the application, after the model",
)
_RANDOM = ("random numbers are not supported", "make them an input of the model")
_SEQUENCE = ("sequences and optional values are not supported", "use plain tensors")
_STRINGS = ("strings are not supported", "leave text to the application, before the model")
_TRAINING = ("it is for training", "export the model for inference")
_SCATTER = ("scattered writes are not supported", "")
_BITS = ("bit arithmetic is not supported", "")

#: operator -> (reason, way out)
REASONS = {
    "Loop": _CONTROL, "Scan": _CONTROL, "SequenceMap": _CONTROL,
    "NonMaxSuppression": _DATA_SIZED, "Unique": _DATA_SIZED, "Compress": _DATA_SIZED,
    "RandomNormal": _RANDOM, "RandomNormalLike": _RANDOM, "RandomUniform": _RANDOM,
    "RandomUniformLike": _RANDOM, "Multinomial": _RANDOM, "Bernoulli": _RANDOM,
    "SequenceAt": _SEQUENCE, "SequenceConstruct": _SEQUENCE, "SequenceEmpty": _SEQUENCE,
    "SequenceErase": _SEQUENCE, "SequenceInsert": _SEQUENCE, "SequenceLength": _SEQUENCE,
    "SplitToSequence": _SEQUENCE, "ConcatFromSequence": _SEQUENCE, "Optional": _SEQUENCE,
    "OptionalGetElement": _SEQUENCE, "OptionalHasElement": _SEQUENCE,
    "StringConcat": _STRINGS, "StringNormalizer": _STRINGS, "StringSplit": _STRINGS,
    "RegexFullMatch": _STRINGS, "TfIdfVectorizer": _STRINGS,
    "NegativeLogLikelihoodLoss": _TRAINING, "SoftmaxCrossEntropyLoss": _TRAINING,
    "Scatter": _SCATTER, "ScatterElements": _SCATTER, "ScatterND": _SCATTER,
    "TensorScatter": _SCATTER,
    "BitShift": _BITS, "BitwiseAnd": _BITS, "BitwiseNot": _BITS, "BitwiseOr": _BITS,
    "BitwiseXor": _BITS, "BitCast": _BITS,
    "TopK": ("sorting is not supported", "leave it to the application, after the model"),
}  # fmt: skip

_DOMAINS = {
    "com.microsoft": "export the model without ONNX Runtime's optimisations",
    "ai.onnx.ml": "leave classical machine learning to the application",
}


def reason_for(domain: str, operator: str) -> Unsupported:
    """Why an operator is not supported."""
    if domain:
        way_out = _DOMAINS.get(domain, "export the model with ONNX's own operators only")
        return Unsupported(f"operators of domain {domain!r} are not supported", way_out=way_out)
    if operator in REASONS:
        reason, way_out = REASONS[operator]
        return Unsupported(reason, way_out=way_out)
    known = {name.lower(): name for _, name in HANDLERS}
    close = difflib.get_close_matches(operator.lower(), known, 1, 0.85)
    hint = f"is {known[close[0]]} meant?" if close else ""
    return Unsupported("the operator is not supported", way_out=hint)
