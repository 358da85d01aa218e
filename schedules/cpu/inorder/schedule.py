"""Modulo scheduling of a loop for a core that issues in order (Rau, MICRO-27, 1994).

A body is a *spine*, arithmetic in an order that is kept, whose operands are *loads*, and
*control*, a chain that counts and moves the pointers. The spine sets the pace: an iteration
starts every ``interval`` cycles. Loads are placed as late as they may be, but far enough ahead
of their use that a line from L2 arrives in time: partly in the iteration before. Then each
value gets a register for as long as it lives; what does not fit is tried again with shorter
reach, then with a longer interval.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from .pipeline import Pipeline

_RANKS = {"multiply_add": 0, "vector": 0, "branch": 2}
#: reaches that are tried, as parts of the pipeline's
_REACHES = (1.0, 0.75, 0.5, 0.3)
#: cycles between the last load by a pointer and the first one of the next iteration
_ROOM = 6


class DoesNotFitError(Exception):
    """No schedule was found: too many values live at once."""


@dataclass(frozen=True)
class Load:
    """``size`` bytes at ``pointer`` + ``offset`` as a vector value (4 and 8: its first lanes)."""

    value: str
    pointer: str
    offset: int
    size: int


@dataclass(frozen=True)
class Step:
    """An instruction of the spine: ``text`` names its values in braces, as ``{w0}``.

    ``carried`` is the register that it reads and writes: the next step to do so waits for it.
    """

    kind: str
    text: str
    values: tuple[str, ...]
    carried: str = ""


@dataclass(frozen=True)
class Control:
    """An instruction that follows the one before it; ``moves``: the pointer that it advances."""

    kind: str
    text: str
    moves: str = ""


@dataclass(frozen=True)
class Body:
    spine: Sequence[Step]
    loads: Sequence[Load]
    control: Sequence[Control]
    #: registers for values, and for integers on their way into vectors
    registers: Sequence[str]
    temporaries: Sequence[str]


@dataclass(frozen=True)
class Placed:
    """An instruction with registers; iteration i issues it in cycle ``time`` + i x interval."""

    time: int
    kind: str
    text: str


@dataclass
class Plan:
    interval: int
    reach: int
    placed: list[Placed]

    def prologue(self) -> list[Placed]:
        """What the first iteration needs before the loop starts."""
        return [p for p in self.placed if p.time < 0]

    def kernel(self) -> list[Placed]:
        """One round of the loop, in order of issue.

        Within a cycle a load follows the last use of the register that it overwrites, and the
        jump back is last.
        """
        return sorted(self.placed, key=lambda p: (p.time % self.interval, _RANKS.get(p.kind, 1)))


def schedule(body: Body, pipeline: Pipeline) -> Plan:
    """The plan of least interval; of those, the one whose loads are farthest ahead."""
    least = _least_interval(body, pipeline)
    for interval in range(least, least + least // 4 + 8):
        for part in _REACHES:
            try:
                return _Attempt(body, pipeline, interval, int(part * pipeline.reach)).plan()
            except DoesNotFitError:
                continue
    raise DoesNotFitError(f"{len(body.loads)} loads for {len(body.spine)} steps")


def _kinds_of(load: Load) -> tuple[str, ...]:
    return ("load_half", "load_integer", "insert") if load.size > 8 else ("load_half",)


def _least_interval(body: Body, pipeline: Pipeline) -> int:
    """By the busiest unit, and by the accumulator that the most steps wait for."""
    carried = Counter(s.carried for s in body.spine if s.carried)
    latency = max((pipeline.kinds[s.kind].latency for s in body.spine), default=1)
    longest = latency * max(carried.values(), default=0)
    used: dict[str, int] = defaultdict(int)
    kinds = [s.kind for s in body.spine] + [c.kind for c in body.control]
    for kind in [*kinds, *(k for load in body.loads for k in _kinds_of(load))]:
        used["issue"] += 1
        for unit, count in pipeline.kinds[kind].units.items():
            used[unit] += count
    units = {**pipeline.units, "issue": pipeline.width}
    return max(longest, *(-(-count // units[unit]) for unit, count in used.items()))


@dataclass
class _Attempt:
    """One try: what is placed so far, and what each cycle of the loop still has."""

    body: Body
    pipeline: Pipeline
    interval: int
    reach: int
    placed: list[tuple[int, str, str]] = field(default_factory=list)
    #: value -> the cycles in which it lives
    lives: dict[str, tuple[int, int]] = field(default_factory=dict)
    held: dict[str, tuple[int, int]] = field(default_factory=dict)

    def plan(self) -> Plan:
        units = {**self.pipeline.units, "issue": self.pipeline.width}
        self.free = [dict(units) for _ in range(self.interval)]
        first, last = self._spine()
        loads = sorted(self.body.loads, key=lambda load: first[load.value])
        times: dict[str, list[int]] = defaultdict(list)
        branch = self.body.control[-1]
        self._take(branch.kind, self.interval - 1)
        for load in loads:
            # all loads by a pointer are between two of its moves
            before = min(times[load.pointer], default=0) + self.interval - _ROOM
            life = first[load.value], last[load.value]
            times[load.pointer] += self._load(load, life, before)
        self._control(times)
        self.placed.append((self.interval - 1, branch.kind, branch.text))
        names = {
            **_registers(self.lives, self.body.registers, self.interval),
            **_registers(self.held, self.body.temporaries, self.interval),
        }
        order = sorted(self.placed, key=lambda p: p[0])
        return Plan(
            self.interval,
            self.reach,
            [Placed(time, kind, text.format(**names)) for time, kind, text in order],
        )

    # -- placing ------------------------------------------------------------------------------

    def _fits(self, kind: str, time: int) -> bool:
        free = self.free[time % self.interval]
        units = self.pipeline.kinds[kind].units
        return free["issue"] > 0 and all(free[u] >= n for u, n in units.items())

    def _take(self, kind: str, time: int) -> None:
        free = self.free[time % self.interval]
        free["issue"] -= 1
        for unit, count in self.pipeline.kinds[kind].units.items():
            free[unit] -= count

    def _latest(self, kind: str, time: int) -> int:
        """The last cycle up to ``time`` that has room; taken."""
        for t in range(time, time - self.interval, -1):
            if self._fits(kind, t):
                self._take(kind, t)
                return t
        raise DoesNotFitError(kind)

    def _spine(self) -> tuple[dict[str, int], dict[str, int]]:
        """Places the spine, evenly; the first and last cycle in which each value is read."""
        first: dict[str, int] = {}
        last: dict[str, int] = {}
        ready: dict[str, int] = {}
        begun: dict[str, int] = {}
        time = 0
        for i, step in enumerate(self.body.spine):
            time = max(time, i * self.interval // len(self.body.spine), ready.get(step.carried, 0))
            while not self._fits(step.kind, time):
                time += 1
            if time >= self.interval:
                raise DoesNotFitError(step.text)
            self._take(step.kind, time)
            self.placed.append((time, step.kind, step.text))
            for value in step.values:
                first.setdefault(value, time)
                last[value] = time
            if step.carried:
                begun.setdefault(step.carried, time)
                ready[step.carried] = time + self.pipeline.kinds[step.kind].latency
        if any(ready[c] > begun[c] + self.interval for c in begun):
            raise DoesNotFitError("accumulators are not ready for the next iteration")
        return first, last

    def _load(self, load: Load, life: tuple[int, int], before: int) -> list[int]:
        """Places what brings a value, at ``before`` at the latest; when it reads the pointer."""
        first, last = life
        kinds, address = self.pipeline.kinds, f"[{load.pointer}, #{load.offset}]"
        near = self.reach // 4
        if load.size <= 8:
            time = first - max(self.reach, kinds["load_half"].latency)
            time = self._latest("load_half", min(time, before))
            register = "d" if load.size == 8 else "s"
            text = f"{_mnemonic(load.offset, load.size)} {register}{{{load.value}}}, {address}"
            self.placed.append((time, "load_half", text))
            self.lives[load.value] = (time, last)
            return [time]
        inserted = self._latest("insert", first - kinds["insert"].latency)
        upper = self._latest("load_integer", min(inserted - max(self.reach, 3), before))
        lower = self._latest("load_half", min(inserted - max(self.reach - near, 3), before))
        held, second = f"t_{load.value}", load.offset + 8
        self.placed += [
            (inserted, "insert", f"ins v{{{load.value}}}.d[1], {{{held}}}"),
            (
                upper,
                "load_integer",
                f"{_mnemonic(second, 8)} {{{held}}}, [{load.pointer}, #{second}]",
            ),
            (lower, "load_half", f"{_mnemonic(load.offset, 8)} d{{{load.value}}}, {address}"),
        ]  # fmt: skip
        self.lives[load.value] = (lower, last)
        self.held[held] = (upper, inserted + 1)
        return [upper, lower]

    def _control(self, times: dict[str, list[int]]) -> None:
        """The chain, each link a cycle after the one before; a pointer moves after its loads."""
        chain = 0
        for link in self.body.control[:-1]:
            if not link.moves:
                chain = self._earliest(link.kind, chain, self.interval)
                self.placed.append((chain, link.kind, link.text))
                chain += self.pipeline.kinds[link.kind].latency
        for link in self.body.control[:-1]:
            if link.moves:
                # loads before the move are this iteration's, those after it the next one's
                begin = max(chain, max(times[link.moves], default=0) + 1)
                end = min(times[link.moves], default=0) + self.interval
                time = self._earliest(link.kind, begin, min(end, self.interval))
                self.placed.append((time, link.kind, link.text))

    def _earliest(self, kind: str, begin: int, end: int) -> int:
        for time in range(begin, end):
            if self._fits(kind, time):
                self._take(kind, time)
                return time
        raise DoesNotFitError(kind)


def _mnemonic(offset: int, size: int) -> str:
    """``ldur`` where the offset is no multiple of the size or is negative."""
    return "ldr" if offset % size == 0 and 0 <= offset < 4096 * size else "ldur"


def encodable(offset: int, size: int) -> bool:
    """Whether a load can hold the offset."""
    return _mnemonic(offset, size) == "ldr" or -256 <= offset < 256


def _registers(
    lives: dict[str, tuple[int, int]], registers: Sequence[str], interval: int
) -> dict[str, str]:
    """A register for each value, none for two that live in one cycle of the loop."""
    taken: dict[str, set[int]] = {r: set() for r in registers}
    found: dict[str, str] = {}
    for value, cycles in sorted(lives.items(), key=lambda item: item[1]):
        used = set(_cycles(*cycles, interval))
        # the register that was free for the shortest time
        fitting = [r for r in registers if not taken[r] & used]
        if len(used) > interval or not fitting:
            raise DoesNotFitError(value)
        register = min(fitting, key=lambda r: _gap(taken[r], cycles[0] % interval, interval))
        taken[register] |= used
        found[value] = register
    return found


def _gap(taken: set[int], start: int, interval: int) -> int:
    """Cycles that a register has been free for when a value comes at ``start``."""
    return next((g for g in range(interval) if (start - 1 - g) % interval in taken), interval)


def _cycles(begin: int, end: int, interval: int) -> Iterator[int]:
    """The cycles of a life: a register may be loaded in the cycle of its last use."""
    if end - begin > interval:
        raise DoesNotFitError("a value outlives an iteration")
    for time in range(begin, max(end, begin + 1)):
        yield time % interval
