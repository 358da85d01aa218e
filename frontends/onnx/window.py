"""Sliding windows as ONNX writes them, resolved to explicit pads over two spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from armlet.compiler.ir import Value
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported


def as_images(b: Emitter, x: Value) -> Value:
    """[N, C, W] as [N, C, 1, W]; [N, C, H, W] as it is."""
    shape = x.type.shape
    return x if len(shape) == 4 else b.reshape(x, (*shape[:2], 1, *shape[2:]))


def from_images(b: Emitter, y: Value, spatial: int) -> Value:
    """Undoes ``as_images`` where there is one spatial axis."""
    shape = y.type.shape
    return y if spatial == 2 else b.reshape(y, (*shape[:2], shape[3]))


@dataclass(frozen=True)
class Window:
    """Kernel, strides, dilations and pads over one or two spatial axes."""

    kernel: tuple[int, ...]
    own_strides: tuple[int, ...]
    own_dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @staticmethod
    def of(
        kernel: Sequence[int],
        spatial: int,
        strides: Sequence[int] | None,
        dilations: Sequence[int] | None,
        pads: Sequence[int] | None,
    ) -> Window:
        """From ONNX's attributes, each of the right length."""
        one = (1,) * spatial
        chosen = {
            "kernel_shape": tuple(kernel),
            "strides": tuple(strides or one),
            "dilations": tuple(dilations or one),
            "pads": tuple(pads or (0,) * (2 * spatial)),
        }
        for name, numbers in chosen.items():
            wanted = spatial * (2 if name == "pads" else 1)
            if len(numbers) != wanted:
                raise Unsupported(f"{list(numbers)} are not {wanted} numbers", attribute=name)
            if name != "pads" and min(numbers, default=1) < 1:
                raise Unsupported(f"{list(numbers)} are not all positive", attribute=name)
        every = chosen["pads"]
        return Window(
            chosen["kernel_shape"],
            chosen["strides"],
            chosen["dilations"],
            every[:spatial],
            every[spatial:],
        )

    @property
    def spans(self) -> tuple[int, ...]:
        """How far the taps of a window reach."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.own_dilations))

    @property
    def has_negative_pads(self) -> bool:
        return min(self.before + self.after) < 0

    def with_pads(self, pads: Sequence[int]) -> Window:
        half = len(pads) // 2
        return replace(self, before=tuple(pads[:half]), after=tuple(pads[half:]))

    def attributes(self) -> dict[str, Any]:
        """For our operators over two axes."""
        lead = 2 - len(self.kernel)
        return {
            "strides": (1,) * lead + self.own_strides,
            "pads": (0,) * lead + self.before + (0,) * lead + self.after,
            "dilations": (1,) * lead + self.own_dilations,
        }

    def auto_padded(self, b: Emitter, x: Value, auto_pad: str) -> Window:
        """The pads that ``auto_pad`` asks for."""
        if auto_pad == "NOTSET":
            return self
        if auto_pad == "VALID":
            return self.with_pads((0,) * (2 * len(self.kernel)))
        if auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
            raise Unsupported(f"{auto_pad!r} is unknown", attribute="auto_pad")
        if set(self.own_strides) == {1}:
            totals = [span - 1 for span in self.spans]
        else:
            sizes = b.static(x, "the pads that SAME makes depend on")[2:]
            totals = [
                max(0, (-(-size // stride) - 1) * stride + span - size)
                for size, stride, span in zip(sizes, self.own_strides, self.spans)
            ]
        small = [total // 2 for total in totals]
        large = [total - part for total, part in zip(totals, small)]
        return self.with_pads(small + large if auto_pad == "SAME_UPPER" else large + small)

    def ceiled(self, b: Emitter, x: Value) -> Window:
        """With ``ceil_mode``: more pads after, so that a last partial window is whole.

        A window that would begin beyond the input and its first pad does not count.
        """
        if set(self.own_strides) == {1}:
            return self
        after = []
        for axis, size in enumerate(b.static(x, "ceil_mode depends on")[2:]):
            stride, span, low = self.own_strides[axis], self.spans[axis], self.before[axis]
            count = -(-(size + low + self.after[axis] - span) // stride) + 1
            if (count - 1) * stride >= size + low:
                count -= 1
            after.append(max(self.after[axis], (count - 1) * stride + span - size - low))
        return replace(self, after=tuple(after))

    def transposed_to(
        self,
        sizes: Sequence[int],
        wanted: Sequence[int],
        extra: Sequence[int],
        auto_pad: str,
    ) -> tuple[Window, tuple[int, ...]]:
        """The pads, and the padding of the output, that make an output of the sizes wanted."""
        if len(wanted) != len(sizes):
            raise Unsupported(f"{list(wanted)} has the wrong length", attribute="output_shape")
        rows = zip(sizes, wanted, extra, self.own_strides, self.spans)
        totals = [s * (n - 1) + e + span - w for n, w, e, s, span in rows]
        extra = tuple(e + max(0, -total) for e, total in zip(extra, totals))
        totals = [max(0, total) for total in totals]
        small = [total // 2 for total in totals]
        large = [total - part for total, part in zip(totals, small)]
        pads = small + large if auto_pad == "SAME_UPPER" else large + small
        return self.with_pads(pads), extra
