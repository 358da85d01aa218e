"""Connected, convex sets of calls: each can be one step of a plan.

A set is convex if no path between two of its calls leaves it. Two convex sets may still wait for
one another, so sets are grown on the graph in which each set is one node, and that graph stays
without cycles: two nodes may become one if no path between them goes through a third.

    a -> b -> d        {a, b, d} is convex only with c in it: where c stays outside,
    a -> c -> d        {a, b} and {d}
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator

from armlet.compiler.ir import Call, Function

#: calls that are taken together or not at all
Unit = tuple[Call, ...]


def _bits(number: int) -> Iterator[int]:
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest


class Quotient:
    """The graph of a function's calls, where sets of calls are nodes; it never has a cycle."""

    def __init__(self, function: Function) -> None:
        self._place = {call: i for i, call in enumerate(function.bindings)}
        self.node = dict(self._place)
        self.members: dict[int, list[Call]] = {i: [call] for call, i in self.node.items()}
        self._before: dict[int, int] = {}
        producers = function.producers
        self.direct: dict[Call, list[Call]] = {
            c: [producers[v] for v in c.operands if v in producers]  # type: ignore[index]
            for c in function
        }
        for call, i in self._place.items():
            # as bits: every node that this one waits for
            self._before[i] = 0
            for producer in self.direct[call]:
                j = self.node[producer]
                self._before[i] |= self._before[j] | 1 << j

    def _waits(self, a: int, b: int) -> bool:
        """Whether ``a`` waits for ``b``, directly or not."""
        return bool(self._before[a] >> b & 1)

    def can_join(self, a: int, b: int) -> bool:
        """Whether no path between two nodes goes through a third."""
        if self._waits(b, a):
            a, b = b, a
        return not any(self._waits(n, b) for n in _bits(self._before[a] & ~(1 << b)))

    def can_join_all(self, calls: Iterable[Call]) -> bool:
        """Whether the calls, each a node yet, can be one: no path leaves them and comes back."""
        nodes = [self.node[c] for c in calls]
        inside = sum(1 << n for n in set(nodes))
        if any(len(self.members[n]) > 1 for n in nodes):
            return False
        outside = 0
        for n in nodes:
            outside |= self._before[n]
        return not any(self._before[n] & inside for n in _bits(outside & ~inside))

    def join(self, a: int, b: int) -> int:
        """Makes one node of two, the number of which is returned."""
        kept, gone = min(a, b), max(a, b)
        both = 1 << kept | 1 << gone
        before = (self._before[kept] | self._before.pop(gone)) & ~both
        self._before[kept] = before
        for other, waits in self._before.items():
            if other != kept and waits & both:
                self._before[other] = (waits | before | 1 << kept) & ~(1 << gone)
        self.members[kept] += self.members.pop(gone)
        for call in self.members[kept]:
            self.node[call] = kept
        return kept

    def copy(self) -> Quotient:
        made = copy.copy(self)
        made.node, made._before = dict(self.node), dict(self._before)
        made.members = {n: list(calls) for n, calls in self.members.items()}
        return made

    def join_all(self, calls: Iterable[Call]) -> int:
        """Makes one node of those of the calls."""
        first, *more = calls
        node = self.node[first]
        for call in more:
            if self.node[call] != node:
                node = self.join(node, self.node[call])
        return node

    def of(self, node: int) -> list[Call]:
        """The calls of a node, in the function's order."""
        return sorted(self.members[node], key=self._place.__getitem__)

    def order(self) -> list[int]:
        """All nodes so that each comes after those that it waits for, else as they were."""
        first = {n: self._place[self.of(n)[0]] for n in self.members}
        left, done, found = sorted(first, key=first.__getitem__), 0, []
        while left:
            chosen = next(n for n in left if not self._before[n] & ~done)
            left.remove(chosen)
            found.append(chosen)
            done |= 1 << chosen
        return found


def grow(quotient: Quotient, units: Iterable[Unit]) -> list[int]:
    """Joins the units, in order, to connected regions; the nodes that these are."""
    regions: list[int] = []
    for unit in units:
        node = quotient.join_all(unit)
        for call in unit:
            for producer in quotient.direct[call]:
                near = quotient.node[producer]
                if near in regions and quotient.can_join(near, node):
                    regions.remove(near)
                    node = quotient.join(near, node)
        regions.append(node)
    return regions
