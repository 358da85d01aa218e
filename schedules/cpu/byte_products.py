"""Sums of four products of bytes, by the instructions that a target has for them.

``weights`` loads what one quad of input channels takes of a vector of output channels;
``quad`` makes of the four bytes of a pixel what ``add`` multiplies by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from armlet.compiler.ops.lazy import tirx
from armlet.compiler.ops.quads import QUAD
from armlet.targets import Target

from ..emit import Array, Code

Vectors = Sequence[Any]

_PMADDWD = {4: "sse2.pmadd.wd", 8: "avx2.pmadd.wd", 16: "avx512.pmaddw.d.512"}


def load(array: Array, place: Any, lanes: int, dtype: str) -> Any:
    """A vector from neighbouring elements."""
    assert str(array.buffer.dtype) == dtype
    return tirx.BufferLoad(array.buffer, [tirx.Ramp(place, 1, lanes)])


def splat(value: int, lanes: int, dtype: str) -> Any:
    return tirx.Broadcast(tirx.const(value, dtype), lanes)


class Products:
    """One way of adding up products of pixels' bytes of ``dtype``."""

    #: pixels whose quads ``quads`` loads at once, where they lie beside each other
    together = 1

    def __init__(self, code: Code, lanes: int, dtype: str) -> None:
        self.code, self.lanes, self.dtype = code, lanes, dtype

    def weights(self, array: Array, place: Any) -> Vectors:
        raise NotImplementedError

    def quad(self, four: Any) -> Vectors:
        """``four`` are the bytes of four channels of a pixel, as an int32."""
        raise NotImplementedError

    def quads(self, array: Array, place: Any) -> list[Vectors]:
        """As ``quad``, of ``together`` pixels."""
        raise NotImplementedError

    def add(self, acc: Any, pixel: Vectors, weights: Vectors) -> Any:
        raise NotImplementedError

    def add_to(self, acc: Array, at: int, pixel: Vectors, weights: Vectors) -> None:
        """Adds to vector ``at`` of a tile."""
        place = [tirx.Ramp(acc.at([at, 0]), 1, self.lanes)]
        total = self.add(tirx.BufferLoad(acc.buffer, place), pixel, weights)
        self.code.emit(tirx.BufferStore(acc.buffer, total, place))

    def named(self, value: Any) -> Any:
        return self.code.named_vector(value)

    def constant(self, value: int) -> Vectors:
        """A quad of one number."""
        raise NotImplementedError


class Sdot(Products):
    """Armv8.2's SDOT. LLVM takes the splat by lane only if it is the last operand."""

    together = 4

    def quads(self, array: Array, place: Any) -> list[Vectors]:
        bytes_ = self.named(load(array, place, QUAD * self.lanes, self.dtype))
        words = self.named(tirx.reinterpret(f"int32x{self.lanes}", bytes_))
        return [
            [
                tirx.reinterpret(
                    f"int8x{QUAD * self.lanes}",
                    tirx.Shuffle([words], [tirx.const(i, "int32")] * self.lanes),
                )
            ]
            for i in range(self.together)
        ]

    def weights(self, array: Array, place: Any) -> Vectors:
        return [self.named(load(array, place, QUAD * self.lanes, "int8"))]

    def quad(self, four: Any) -> Vectors:
        bytes_ = f"int8x{QUAD * self.lanes}"
        return [self.named(tirx.reinterpret(bytes_, tirx.Broadcast(four, self.lanes)))]

    def constant(self, value: int) -> Vectors:
        return [splat(value, QUAD * self.lanes, self.dtype)]

    def add(self, acc: Any, pixel: Vectors, weights: Vectors) -> Any:
        name = f"llvm.aarch64.neon.sdot.v{self.lanes}i32.v{QUAD * self.lanes}i8"
        return tirx.call_llvm_pure_intrin(f"int32x{self.lanes}", name, acc, weights[0], pixel[0])


class Vpdpbusd(Sdot):
    """AVX-512 VNNI and AVX-VNNI: unsigned bytes of pixels by signed ones of weights."""

    together = 1

    def quad(self, four: Any) -> Vectors:
        bytes_ = f"uint8x{QUAD * self.lanes}"
        return [self.named(tirx.reinterpret(bytes_, tirx.Broadcast(four, self.lanes)))]

    def add(self, acc: Any, pixel: Vectors, weights: Vectors) -> Any:
        name = f"llvm.x86.avx512.vpdpbusd.{32 * self.lanes}"
        return tirx.call_llvm_pure_intrin(f"int32x{self.lanes}", name, acc, pixel[0], weights[0])


class Pmaddwd(Products):
    """x86's products of pairs of int16: the even bytes of a quad, and the odd ones."""

    def weights(self, array: Array, place: Any) -> Vectors:
        step = 2 * self.lanes
        return [self.named(load(array, place + i * step, step, "int16")) for i in (0, 1)]

    def quad(self, four: Any) -> Vectors:
        lanes = 2 * self.lanes
        words = self.named(tirx.reinterpret(f"int16x{lanes}", tirx.Broadcast(four, self.lanes)))
        eight = splat(8, lanes, "int16")
        if self.dtype == "int8":
            return [self.named((words << eight) >> eight), self.named(words >> eight)]
        unsigned = tirx.reinterpret(f"uint16x{lanes}", words) >> splat(8, lanes, "uint16")
        odd = tirx.reinterpret(f"int16x{lanes}", unsigned)
        return [self.named(words & splat(0xFF, lanes, "int16")), self.named(odd)]

    def constant(self, value: int) -> Vectors:
        return [splat(value, 2 * self.lanes, "int16")] * 2

    def add(self, acc: Any, pixel: Vectors, weights: Vectors) -> Any:
        name, dtype = f"llvm.x86.{_PMADDWD[self.lanes]}", f"int32x{self.lanes}"
        for x, w in zip(pixel, weights, strict=True):
            acc = acc + tirx.call_llvm_pure_intrin(dtype, name, x, w)
        return acc


class Single(Products):
    """A multiply-add of int16 for each byte, which LLVM finds an instruction for.

    In loops over vectors, as registers of RISC-V are of a length that is not known here.
    """

    def weights(self, array: Array, place: Any) -> Vectors:
        return [lambda v, i=i: _element(array, place + i * self.lanes + v) for i in range(QUAD)]

    def quad(self, four: Any) -> Vectors:
        found = []
        for i in range(QUAD):
            if self.dtype == "int8":
                byte = (four << tirx.const(24 - 8 * i, "int32")) >> tirx.const(24, "int32")
            else:
                byte = (four >> tirx.const(8 * i, "int32")) & tirx.const(255, "int32")
            found.append(self.named(byte.astype("int16")))
        return found

    def constant(self, value: int) -> Vectors:
        return [tirx.const(value, "int16")] * QUAD

    def add_to(self, acc: Array, at: int, pixel: Vectors, weights: Vectors) -> None:
        for x, w in zip(pixel, weights, strict=True):
            with self.code.vector(self.lanes) as v:
                product = x.astype("int32") * w(v).astype("int32")
                self.code.store(acc, (at, v), acc[at, v] + product)


def _element(array: Array, place: Any) -> Any:
    return tirx.BufferLoad(array.buffer, [place])


def multiplies(target: Target, order: str, lanes: int, dtype: str) -> bool:
    """Whether a target has instructions for weights in an order and bytes of ``dtype``."""
    way = target.byte_products
    if order == "quads":
        return {"sdot": "int8", "vpdpbusd": "uint8"}.get(way) == dtype and lanes == target.lanes
    x86 = way in ("pmaddwd", "vpdpbusd")
    return order == "singles" or (x86 and lanes in (4, 8, 16) and lanes <= target.lanes)


def products(code: Code, target: Target, lanes: int, dtype: str, order: str) -> Products:
    """How a target adds up products of bytes of ``dtype`` by weights in an order."""
    ways: dict[str, type[Products]] = {"singles": Single, "pairs": Pmaddwd}
    ways["quads"] = Sdot if target.byte_products == "sdot" else Vpdpbusd
    return ways[order](code, lanes, dtype)
