"""The passes between canonical form and fusion: what makes a function one for the CPU's kernels."""

from __future__ import annotations

from armlet.compiler.ir import Function
from armlet.compiler.passes import compose_arrangements, form_views
from armlet.compiler.passes.narrow_to_half import LARGEST, narrow_to_half
from armlet.compiler.passes.pipeline import Pass
from armlet.compiler.passes.sign_bytes import sign_bytes
from armlet.compiler.passes.store_bytes import store_bytes
from armlet.compiler.passes.store_half import store_half
from armlet.compiler.ranges import Half, findings
from armlet.compiler.records import Records
from armlet.compiler.select.layout import select
from armlet.errors import RangeError
from armlet.targets import Target

#: the pass that chooses a form for every call
SELECT = "select"
#: the pass that makes values float16
NARROW = "narrow_to_half"


def cpu_passes(
    canonical: Function, target: Target, records: Records, half: Half | None = None
) -> list[tuple[str, Pass]]:
    """For ``canonical``, or parts of it; with ``half``, in float16 where that is in range."""
    narrow: list[tuple[str, Pass]] = []
    store: list[tuple[str, Pass]] = []
    sign: list[tuple[str, Pass]] = []
    if half and target.half_arithmetic:
        narrow = [(NARROW, _narrowing(canonical, half))]
    elif half:
        store = [("store_half", store_half)]
    if target.byte_dtype:
        sign = [("sign_bytes", lambda f: sign_bytes(f, target.byte_dtype))]
    return [
        *narrow,
        *sign,
        (SELECT, lambda f: select(f, target, records)),
        ("compose_arrangements", compose_arrangements.run),
        ("form_views", form_views.run),
        ("store_bytes", store_bytes),
        *store,
    ]


def _narrowing(canonical: Function, half: Half) -> Pass:
    """To float16, but for what is out of its range on the samples."""
    found = findings(canonical, half.samples)
    if found.out and half.strict:
        raise RangeError(
            f"float16 holds up to {LARGEST:g}, and {found.out[0]}",
            where=found.out[0].call.source,
            way_out="compile without --check-range, which computes such layers in float32",
        )
    return lambda f: narrow_to_half(f, [o.call for o in found.out], found.wide)
