"""Random changes of recorded sessions against the agent under the sanitizers.

    python -m tests.agent.fuzz SECONDS [SEED]

The corpus is what a host says in sessions of every kind of request, and a client of TVM's. Each
trial changes a few of its frames (bits, lengths, interesting numbers, cuts, repeats, frames of
other sessions) and sends them over a connection of its own. The agent must live, report nothing
of memory or undefined behaviour, and serve a sound session afterwards.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import sys
import tempfile
import time
from pathlib import Path

from .agents import Agent, Host, block, greeting, host, sound

#: at the edges of types and limits
NUMBERS = (0, 1, 2, 15, 16, 255, 256, 4096, 2**15, 2**16, 2**20, 2**20 + 1024, 2**31 - 1, 2**31,
           2**32 - 1, 2**63, 2**64 - 1)  # fmt: skip
TRIALS_BETWEEN_CHECKS = 200


def native_corpus(name: bytes, data: bytes) -> list[list[bytes]]:
    """Sessions as lists of messages."""

    def session(*requests: tuple[int, bytes]) -> list[bytes]:
        hello = (1, block(b"fuzz") + struct.pack("<I", 20))
        return [
            struct.pack("<HHI", code, 0, i) + f for i, (code, f) in enumerate([hello, *requests])
        ]

    opening = (4, name + struct.pack("<IiQIIi", 2, 0, 1 << 28, 2000, 1, 0))
    handle = struct.pack("<II", 0, 500)
    values = (6, struct.pack("<IIQ", 0, 0, 0) + block(bytes(2048)))
    library = name + struct.pack("<I", 1) + struct.pack("<I", 2)
    operand = name + struct.pack("<QB", len(data), 0)
    batch = library + operand * 2 + name + struct.pack("<QId", len(data), 2, 1e-4) + struct.pack(
        "<IIIiQdIIddI", 1, 0, 0, 8, 256, 1.0, 1, 3, 0.01, 1.0, 0) + bytes(32)  # fmt: skip
    return [
        session((2, struct.pack("<I", 2) + name + bytes(32)), (13, b""), (14, bytes(32))),
        session((3, bytes(32) + struct.pack("<QQ", 64, 0) + block(bytes(32)))),
        session((3, name + struct.pack("<QQ", len(data), 0) + block(data[: 1 << 14]))),
        session(opening, values, (7, handle + struct.pack("<I", 1)), (5, handle[:4])),
        session(opening, values, (8, handle + struct.pack("<ddId", 0.0, 0.01, 3, 0.0))),
        session(opening, values, (9, handle + struct.pack("<I", 2)), (10, handle), (11, handle)),
        session((12, batch), (13, b"")),
        session((15, b"")),
    ]


def framed(messages: list[bytes]) -> list[bytes]:
    return [greeting(), *(struct.pack("<I", len(m)) + m for m in messages)]


def tvm_corpus() -> list[list[bytes]]:
    """The client's side of TVM's protocol (0.27): a handshake, and packets of several kinds."""

    def packet(code: int, body: bytes = b"") -> bytes:
        return struct.pack("<Qi", 4 + len(body), code) + body

    def text(data: bytes) -> bytes:
        return struct.pack("<iQ", 8, len(data)) + data

    key = b"client:fuzz"
    device = struct.pack("<iii", 6, 1, 0)
    start = [struct.pack("<ii", 0xFF271, len(key)) + key]
    start += [packet(2, struct.pack("<Q", 5) + b"0.8.0" + struct.pack("<i", 0))]
    tensor = struct.pack("<Qiiiss", 0, 1, 0, 1, b"\2", b"\x20")[:-2] + bytes([2, 32, 1, 0])
    tensor += struct.pack("<qQ", 16, 0)
    names = [b"tvm.rpc.server.upload", b"tvm.rpc.server.load_module", b"runtime.RPCTimeEvaluator"]
    gets = [packet(9, struct.pack("<i", 1) + text(n)) for n in names]
    upload = struct.pack("<Qi", 1, 2) + text(b"lib.so") + struct.pack("<iIQ", 66, 66, 4) + b"data"
    allocate = packet(
        13, struct.pack("<i", 4) + device + struct.pack("<iqiqiBBHi", 1, 64, 1, 64, 5, 2, 32, 1, 0)
    )
    return [
        [*start, *gets, packet(3, upload), packet(1)],
        [*start, allocate, packet(7, tensor + struct.pack("<Q", 64) + bytes(64))],
        [
            *start,
            allocate,
            packet(6, tensor + struct.pack("<Q", 64)),
            packet(10, struct.pack("<iiQ", 1, 4, 1)),
        ],
        [*start, packet(12, struct.pack("<i", 2) + device + struct.pack("<iq", 1, 0))],
        [
            *start,
            packet(15, struct.pack("<i", 2) + device + struct.pack("<iQ", 4, 0)),
            packet(5),
            packet(4),
        ],
    ]


def change(rng: random.Random, data: bytes) -> bytes:
    """One small change."""
    if not data:
        return rng.randbytes(4)
    at = rng.randrange(len(data))
    kind = rng.randrange(6)
    if kind == 0:
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if kind == 1:
        width = rng.choice([1, 2, 4, 8])
        number = rng.choice(NUMBERS) % (1 << 8 * width)
        return data[:at] + number.to_bytes(width, "little") + data[at + width :]
    if kind == 2:
        return data[:at]
    if kind == 3:
        return data[:at] + rng.randbytes(rng.randrange(1, 64)) + data[at:]
    if kind == 4:
        return data[:at] + data[at + rng.randrange(1, 16) :]
    return data + data[at:]


def mutated(rng: random.Random, session: list[bytes], others: list[list[bytes]]) -> bytes:
    pieces = list(session)
    for _ in range(rng.choice([1, 1, 1, 2, 4, 8])):
        at = rng.randrange(len(pieces))
        kind = rng.randrange(8)
        if kind == 0:
            pieces.insert(at, rng.choice(rng.choice(others)))
        elif kind == 1:
            pieces[at:] = [*pieces[at:], *pieces[at:]][:64]
        elif kind < 5 and pieces[at][:4] == (len(pieces[at]) - 4).to_bytes(
            4, "little", signed=True
        ):
            body = change(rng, pieces[at][4:])  # a frame that is as long as it says
            pieces[at] = struct.pack("<I", len(body)) + body
        else:
            pieces[at] = change(rng, pieces[at])
    return b"".join(pieces)


def send(agent: Agent, data: bytes, patience: float) -> None:
    """Sends, and reads until the agent is done or patience ends."""
    with contextlib.suppress(OSError), agent.raw() as connection:
        connection.settimeout(patience)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass


def fuzz(seconds: float, seed: int, folder: Path) -> int:
    """The number of trials; AssertionError names the trial after which something was wrong."""
    rng = random.Random(seed)
    data, name = sound(folder)
    options = ("--idle", "2", "--deadline", "2", "--memory", "512", "--store", "16")
    with Agent(folder / "files", *options) as agent:
        with agent.connect() as session:
            session.put(name, data)
        corpus = [framed(s) for s in native_corpus(name, data)] + tvm_corpus()
        for session_bytes in corpus:
            send(agent, b"".join(session_bytes), 5)
        end, trial = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            trial += 1
            send(agent, mutated(rng, rng.choice(corpus), corpus), 0.5)
            if trial % TRIALS_BETWEEN_CHECKS == 0:
                assert agent.process.poll() is None, f"the agent ended at trial {trial} of {seed}"
                agent.check_log()
                with host(agent) as found:
                    if found.ask(2, struct.pack("<I", 1) + name)[2] != bytes([255] * 8):
                        with agent.connect() as session:
                            session.put(name, data)
        agent.check_log()
        with agent.raw() as connection:
            Host(connection).hello()
    return trial


def main() -> None:
    seconds = float(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**32)
    with tempfile.TemporaryDirectory(prefix="armlet-fuzz-") as folder:
        print(f"{fuzz(seconds, seed, Path(folder))} trials of seed {seed}: nothing found")


if __name__ == "__main__":
    main()
