"""The passes, in order: a table of contents of what happens to a model before ``select``.

Adding a pass is writing a file with ``run(function) -> function`` and naming it here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from armlet.compiler.ir import Function

from . import (
    eliminate_common,
    fold_batch_norm,
    fold_constants,
    fold_pad,
    fold_scale,
    fuse_activations,
    fuse_attention,
    fuse_normalizations,
    integer_arithmetic,
    separate_results,
    shuffle_channels,
    simplify,
    sink_reshapes,
    sink_transposes,
    widen_half,
)

Pass = Callable[[Function], Function]

CANONICALIZE: list[tuple[str, Pass]] = [
    ("widen_half", widen_half.run),
    ("fold_constants", fold_constants.run_early),
    ("sink_transposes", sink_transposes.run),
    ("simplify", simplify.run),
    ("integer_arithmetic", integer_arithmetic.run),
    ("fold_weights", fold_constants.run),
    ("fold_batch_norm", fold_batch_norm.run),
    ("fuse_activations", fuse_activations.run),
    ("fuse_normalizations", fuse_normalizations.run),
    ("shuffle_channels", shuffle_channels.run),
    ("fuse_attention", fuse_attention.run),
    ("sink_reshapes", sink_reshapes.run),
    ("drop_reshapes", simplify.run),
    ("sink_transposes_again", sink_transposes.run),
    ("fold_pad", fold_pad.run),
    ("fold_scale", fold_scale.run),
    ("simplify_again", simplify.run),
    ("fold_constants_again", fold_constants.run),
    ("eliminate_common", eliminate_common.run),
    ("separate_results", separate_results.run),
]

#: called after each pass with its name and what it made
Observer = Callable[[str, Function], None]


def run(
    function: Function,
    passes: Sequence[tuple[str, Pass]] = CANONICALIZE,
    observe: Observer | None = None,
) -> Function:
    for name, apply in passes:
        function = apply(function)
        if observe:
            observe(name, function)
    return function
