"""A session with an agent: its requests as methods, pipelined, each with a deadline.

``docs/reference/device-protocol.md`` describes the requests. A device that fails raises one of the
``DeviceError`` classes, or ``ExecutionError`` where the artifact is what reports an error.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from armlet.binding import DTYPES
from armlet.errors import (
    ArmletError,
    DeviceBusyError,
    DeviceCrashError,
    DeviceError,
    DeviceMemoryError,
    DeviceProtocolError,
    DeviceRefusedError,
    DeviceTimeoutError,
    ExecutionError,
    NotOnDeviceError,
)
from armlet.model import SelfTestReport
from armlet.state import State

from .channel import Channel
from .fields import Reader, block, pack

#: bytes of a blob, an input or an output in one message
PIECE = 1 << 20
#: requests that are sent before the first is answered; the answers of so many fit any socket
WINDOW = 16
#: seconds that an agent may be silent, beyond what it was told that it may take
PATIENCE = 20.0
#: seconds that a request may take on the device, unless told otherwise
DEADLINE = 60.0
#: seconds without a request after which ``state`` is asked, to keep the session alive
HEARTBEAT = 15.0
_ABSENT = 2**64 - 1

OK, TIMEOUT, CRASHED, OUT_OF_MEMORY, REFUSED, WRONG_OUTPUT, FAILED, BUSY, MISSING = range(9)
STATUS = (
    "ok", "timeout", "crashed", "out_of_memory", "refused", "wrong_output", "failed", "busy",
    "missing",
)  # fmt: skip
_ERRORS: dict[int, type[ArmletError]] = {
    TIMEOUT: DeviceTimeoutError,
    CRASHED: DeviceCrashError,
    OUT_OF_MEMORY: DeviceMemoryError,
    REFUSED: DeviceRefusedError,
    FAILED: ExecutionError,
    BUSY: DeviceBusyError,
    MISSING: NotOnDeviceError,
}
_PART, _DONE = 1, 2

HELLO, HAVE, PUT, OPEN, CLOSE, INPUT, RUN, BENCH, PROFILE, OBSERVE, SELFTEST, MEASURE, STATE, \
    REMOVE, TUNNEL = range(1, 16)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """``seconds`` is what it may take on the device; ``part`` is called with each part's fields.

    ``data`` are large ``bytes`` that follow the other fields; they are not copied.
    """

    code: int
    fields: bytes = b""
    seconds: float = DEADLINE
    part: Callable[[Reader], None] | None = None
    data: memoryview | None = None


#: layers inside a region, and their seconds
Steps = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Opened:
    handle: int
    #: what opening took on the device
    seconds: float
    description: dict[str, Any]


class Session:
    """Requests over a channel; may be used by several threads, one after the other."""

    def __init__(self, channel: Channel, *, wait: float = 0.0) -> None:
        """``wait``: seconds to wait for others to leave the device."""
        self.where = channel.where
        self.wait = wait
        self._channel = channel
        self._lock = threading.RLock()
        self._next = 1
        self._used = time.monotonic()
        self._ended = threading.Event()
        try:
            fields = block(_who()) + pack("I", round(wait * 1000))
            self.facts: dict[str, Any] = _json(self.ask(HELLO, fields))
        except BaseException:
            channel.close()
            raise
        threading.Thread(target=self._keep_alive, daemon=True, name="heartbeat").start()

    # ---- requests

    def exchange(self, requests: Iterable[Request]) -> Iterator[Reader]:
        """The fields of each request's answer, in order; up to ``WINDOW`` are on their way at once.

        After an error no more requests are sent, and those on their way are waited for.
        """
        with self._lock:
            waiting: deque[tuple[int, Request]] = deque()
            try:
                for request in requests:
                    if len(waiting) == WINDOW:
                        yield self._answer(*waiting.popleft())
                    waiting.append((self._send(request), request))
                while waiting:
                    yield self._answer(*waiting.popleft())
            except (KeyboardInterrupt, SystemExit):
                self.close()  # in the middle of a frame, perhaps
                raise
            finally:
                # so that the next request meets its own answer
                for number, request in waiting:
                    with contextlib.suppress(ArmletError):
                        self._answer(number, Request(request.code, seconds=request.seconds))

    def ask(
        self,
        code: int,
        fields: bytes = b"",
        seconds: float = DEADLINE,
        part: Callable[[Reader], None] | None = None,
    ) -> Reader:
        """The fields of one request's answer."""
        (found,) = self.exchange([Request(code, fields, seconds, part)])
        return found

    def _send(self, request: Request) -> int:
        number, self._next = self._next, (self._next + 1) % 2**32
        self._used = time.monotonic()
        message = pack("HHI", request.code, 0, number) + request.fields
        if request.data is not None:
            message += pack("I", len(request.data))
        self._channel.send(message, PATIENCE, request.data)
        return number

    def _answer(self, number: int, request: Request) -> Reader:
        problem: Exception | None = None
        while True:
            fields = Reader(self._channel.receive(request.seconds + PATIENCE))
            self._used = time.monotonic()
            kind, status, found = fields.numbers("HHI")
            if found != number or kind not in (_PART, _DONE):
                self.close()
                raise DeviceProtocolError("the device answers what was not asked", where=self.where)
            if kind == _DONE:
                reason = fields.text()
                if problem is not None:
                    raise problem
                if status != OK:
                    raise self.error(status, reason)
                return fields
            if request.part is not None and problem is None:
                try:
                    request.part(fields)
                except Exception as error:  # after the rest of the answer
                    problem = error

    def error(self, status: int, reason: str) -> ArmletError:
        """The exception for a status that is not ``OK``."""
        name = STATUS[status] if status < len(STATUS) else f"status {status}"
        return _ERRORS.get(status, DeviceError)(reason or name, where=self.where)

    # ---- blobs

    def have(self, hashes: Sequence[bytes]) -> list[int | None]:
        """Bytes present of each blob; None of one that is there as a whole."""
        fields = self.ask(HAVE, pack("I", len(hashes)) + b"".join(hashes))
        found = fields.numbers(f"{len(hashes)}Q")
        return [None if n == _ABSENT else n for n in found]

    def put(
        self,
        hash: bytes,
        data: bytes | memoryview,
        start: int = 0,
        progress: Callable[[int], None] = lambda present: None,
    ) -> None:
        """Sends a blob from byte ``start`` on."""
        for fields in self.exchange(pieces(hash, data, start)):
            progress(fields.u64())

    def remove(self, hash: bytes) -> None:
        self.ask(REMOVE, hash)

    # ---- models

    def open(
        self,
        hash: bytes,
        *,
        threads: int = 0,
        spin_us: int = 0,
        memory_limit: int = 0,
        cpus: Sequence[int] = (),
        seconds: float = DEADLINE,
    ) -> Opened:
        fields = hash + pack(
            f"IiQII{len(cpus)}i",
            threads, spin_us, memory_limit, _ms(seconds), len(cpus), *cpus,
        )  # fmt: skip
        answer = self.ask(OPEN, fields, seconds + self.wait)
        handle, taken = answer.numbers("Id")
        return Opened(handle, taken, _json(answer))

    def close_model(self, handle: int) -> None:
        self.ask(CLOSE, pack("I", handle))

    def run(
        self,
        handle: int,
        feeds: Sequence[np.ndarray],
        results: Sequence[np.ndarray] | None,
        seconds: float = DEADLINE,
    ) -> float:
        """Seconds of a run; the outputs are written to ``results``, if there are any."""
        views = [_bytes_of(array) for array in results or ()]

        def part(fields: Reader) -> None:
            index, offset = fields.numbers("IQ")
            data = fields.block()
            if index >= len(views) or offset + len(data) > len(views[index]):
                raise DeviceProtocolError("the device sends more than the output", where=self.where)
            views[index][offset : offset + len(data)] = data

        asked = pack("III", handle, _ms(seconds), results is not None)
        run = Request(RUN, asked, seconds, part)
        answer = deque(self.exchange([*self._inputs(handle, feeds), run]), maxlen=1)[0]
        return answer.f64()

    def set_inputs(self, handle: int, feeds: Sequence[np.ndarray]) -> None:
        """For requests that follow: ``bench``, ``profile``, ``observe``."""
        deque(self.exchange(self._inputs(handle, feeds)), maxlen=0)

    def _inputs(self, handle: int, feeds: Sequence[np.ndarray]) -> Iterator[Request]:
        for index, array in enumerate(feeds):
            view = _bytes_of(np.ascontiguousarray(array))
            for at in range(0, len(view), PIECE):
                fields = pack("IIQ", handle, index, at)
                yield Request(INPUT, fields, data=view[at : at + PIECE])

    def bench(
        self,
        handle: int,
        *,
        seconds: float,
        warmup: float = 0.0,
        runs: int = 0,
        rate: float = 0.0,
        deadline: float = DEADLINE,
        part: Callable[[np.ndarray, State], None] = lambda seconds, state: None,
    ) -> State:
        """``part`` is called about twice a second with the runs since then."""

        def read(fields: Reader) -> None:
            count = fields.u32()
            part(np.frombuffer(fields.raw(8 * count), "<f8").copy(), read_state(fields))

        fields = pack("IIddId", handle, _ms(deadline), warmup, seconds, runs, rate)
        return read_state(self.ask(BENCH, fields, deadline, read))

    def profile(
        self, handle: int, runs: int, deadline: float = DEADLINE
    ) -> tuple[list[tuple[float, int, int]], list[tuple[float, int, Steps]]]:
        """(seconds, calls, threads) of every task; (seconds, calls, steps) of every region."""
        answer = self.ask(PROFILE, pack("III", handle, _ms(deadline), runs), deadline)
        tasks = [answer.numbers("dQI") for _ in range(answer.u32())]
        regions = []
        for _ in range(answer.u32()):
            seconds, calls, steps = answer.numbers("dQI")
            found = tuple((answer.text(), answer.f64()) for _ in range(steps))
            regions.append((seconds, calls, found))
        return tasks, regions

    def observe(
        self, handle: int, callback: Callable[[str, np.ndarray], None], deadline: float = DEADLINE
    ) -> None:
        """Runs once; ``callback`` is called with the value of every task, in order."""
        kept = bytearray()

        def read(fields: Reader) -> None:
            fields.u32()
            name, dtype, rank = fields.text(), *fields.numbers("II")
            shape = fields.numbers(f"{rank}q")
            offset, data = fields.u64(), fields.block()
            if offset != len(kept) or not 0 < dtype < len(DTYPES):
                raise DeviceProtocolError("values come out of order", where=self.where)
            kept.extend(data)
            # Python's integers, which do not overflow
            size = np.dtype(DTYPES[dtype]).itemsize * int(np.prod(shape, dtype=object))
            if len(kept) >= size:
                value = np.frombuffer(bytes(kept), DTYPES[dtype]).reshape(shape)
                kept.clear()
                callback(name, value)

        self.ask(OBSERVE, pack("II", handle, _ms(deadline)), deadline, read)

    def selftest(self, handle: int, deadline: float = DEADLINE) -> SelfTestReport:
        answer = self.ask(SELFTEST, pack("II", handle, _ms(deadline)), deadline)
        compared, wrong = answer.numbers("QQ")
        return SelfTestReport(compared, wrong, answer.text(), *answer.numbers("Qddd"))

    # ---- the device

    def state(self) -> State:
        return read_state(self.ask(STATE))

    def tunnel(self) -> Channel:
        """The channel, of which frames carry TVM's protocol from now on."""
        self._ended.set()
        self.ask(TUNNEL)
        return self._channel

    def close(self) -> None:
        self._ended.set()
        self._channel.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _keep_alive(self) -> None:
        while not self._ended.wait(HEARTBEAT / 3):
            if time.monotonic() - self._used < HEARTBEAT or not self._lock.acquire(blocking=False):
                continue
            try:
                # a broken connection is told by the next request
                with contextlib.suppress(ArmletError):
                    self.state()
            finally:
                self._lock.release()


def read_state(fields: Reader) -> State:
    seconds, temperature, free, count = fields.numbers("ddQI")
    return State(seconds, temperature, free, tuple(k / 1000 for k in fields.numbers(f"{count}I")))


def pieces(hash: bytes, data: bytes | memoryview, start: int = 0) -> Iterator[Request]:
    """The requests that send a blob from byte ``start`` on."""
    view = memoryview(data).cast("B")
    # an empty blob is one piece, too
    for at in range(start, max(len(view), start + 1), PIECE):
        yield Request(PUT, hash + pack("QQ", len(view), at), data=view[at : at + PIECE])


def _who() -> str:
    """Who others are told uses the device."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "somebody"
    return f"{user} at {socket.gethostname()}"


def _ms(seconds: float) -> int:
    return min(round(seconds * 1000), 2**32 - 1)


def _json(fields: Reader) -> dict[str, Any]:
    text = fields.text()
    try:
        found = json.loads(text)
    except ValueError as error:
        raise DeviceProtocolError(f"the device describes itself unreadably: {error}") from error
    if not isinstance(found, dict):
        raise DeviceProtocolError("the device describes itself unreadably: it is no JSON object")
    return found


def _bytes_of(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
