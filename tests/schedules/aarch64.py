"""Plays the few AArch64 instructions that scheduled loops are made of, in order, on bytes.

Memory is what was given: a load of anything else is an error, and so is a register that is
read before it was written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

_SIZES = {"s": 4, "d": 8, "q": 16}


class Machine:
    def __init__(self) -> None:
        self.vectors: dict[str, np.ndarray] = {}
        self.integers: dict[str, int | bytes] = {"xzr": 0}
        self.memory: list[tuple[int, bytes]] = []
        #: vectors by the addresses to which they went
        self.stored: dict[int, np.ndarray] = {}
        self.flags = 0
        self._next = 1 << 20

    def hold(self, array: np.ndarray) -> int:
        """The address of an array; others are far away."""
        address, data = self._next, np.ascontiguousarray(array).tobytes()
        self.memory.append((address, data))
        self._next += len(data) + (1 << 16)
        return address

    def load(self, address: int, size: int) -> bytes:
        for start, data in self.memory:
            if start <= address and address + size <= start + len(data):
                return data[address - start : address - start + size]
        raise IndexError(f"{size} bytes at {address:#x} are in no array")

    def run(self, lines: Sequence[str]) -> int:
        """Runs to the end; how many instructions were done."""
        done, at = 0, 0
        while at < len(lines):
            name, _, rest = lines[at].strip().partition(" ")
            operands = re.split(r",\s*(?![^\[]*\])", rest)
            at += 1
            if name.endswith(":"):
                continue
            done += 1
            if name == "b.gt":
                at = lines.index("1:") if self.flags > 0 else at
            else:
                getattr(self, f"_{name}")(*operands)
        return done

    # -- instructions -------------------------------------------------------------------------

    def _value(self, operand: str) -> int:
        if operand.startswith("#"):
            return int(operand[1:])
        value = self.integers[operand]
        assert isinstance(value, int), f"{operand} holds a part of a vector"
        return value

    def _address(self, text: str) -> int:
        base, _, offset = text.strip("[]").partition(", ")
        return self._value(base) + self._value(offset or "#0")

    def _ldr(self, target: str, address: str) -> None:
        at = self._address(address)
        if target == "wzr":
            self.load(at, 4)
            return
        if target[0] not in _SIZES:
            self.integers[target] = self.load(at, 8)
            return
        data = self.load(at, _SIZES[target[0]])
        self.vectors[target[1:]] = np.frombuffer(data.ljust(16, b"\0"), "f").copy()

    _ldur = _ldr

    def _ins(self, target: str, source: str) -> None:
        data = self.integers[source]
        assert target.endswith(".d[1]") and isinstance(data, bytes)
        self.vectors[target[1:-5]][2:] = np.frombuffer(data, "f")

    def _fmla(self, acc: str, vector: str, scalar: str) -> None:
        self.vectors[acc[1:-3]] += self._product(vector, scalar)

    def _product(self, vector: str, scalar: str) -> np.ndarray:
        register, lane = re.fullmatch(r"v(\d+)\.s\[(\d)\]", scalar).groups()  # type: ignore[union-attr]
        return self.vectors[vector[1:-3]] * self.vectors[register][int(lane)]

    def _fmls(self, acc: str, vector: str, scalar: str) -> None:
        self.vectors[acc[1:-3]] -= self._product(vector, scalar)

    def _fmul(self, target: str, vector: str, scalar: str) -> None:
        self.vectors[target[1:-3]] = self._product(vector, scalar)

    def _fadd(self, target: str, a: str, b: str) -> None:
        self.vectors[target[1:-3]] = self.vectors[a[1:-3]] + self.vectors[b[1:-3]]

    def _fsub(self, target: str, a: str, b: str) -> None:
        self.vectors[target[1:-3]] = self.vectors[a[1:-3]] - self.vectors[b[1:-3]]

    def _str(self, source: str, address: str) -> None:
        self.stored[self._address(address)] = self.vectors[source[1:]].copy()

    def _mov(self, target: str, source: str) -> None:
        if source in self.integers:
            self.integers[target] = self._value(source)
            return
        self.vectors[target[1:-4]] = self.vectors[source[1:-4]].copy()

    def _movi(self, target: str, value: str) -> None:
        self.vectors[target[1:-3]] = np.full(4, self._value(value), "f")

    def _subs(self, target: str, a: str, b: str) -> None:
        self.flags = self._value(a) - self._value(b)
        self.integers[target] = self.flags

    def _add(self, target: str, a: str, b: str) -> None:
        self.integers[target] = self._value(a) + self._value(b)

    def _csel(self, target: str, yes: str, no: str, condition: str) -> None:
        taken = {"ne": self.flags != 0, "gt": self.flags > 0}[condition]
        self.integers[target] = self._value(yes if taken else no)

    def give(self, registers: Mapping[str, int]) -> None:
        self.integers.update(registers)
