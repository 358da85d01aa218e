"""TVM's protocol byte by byte: a recorded session, and packets that no client would send.

``tvm-session.txt`` is what TVM's client (``>``) and the agent (``<``) say to each other, in turns.
``python -m tests.rpc.test_tvm_wire`` records it anew.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .local import Agent

RECORDED = Path(__file__).parent / "tvm-session.txt"
Turn = tuple[str, bytes]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with Agent(tmp_path_factory.mktemp("agent"), "--memory", "64") as agent:
        yield agent


def record(port: int) -> list[Turn]:
    """A session of TVM's client at the agent, in a process of its own that holds no lock here."""
    turns: list[Turn] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        child = os.fork()
        if child == 0:
            os.execv(
                sys.executable, [sys.executable, "-c", _SCRIPT, str(listener.getsockname()[1])]
            )
        client, _ = listener.accept()
        with client, socket.create_connection(("127.0.0.1", port)) as agent:
            while _carry(client, agent, turns):
                pass
        assert os.waitpid(child, 0)[1] == 0
    return turns


def _carry(client: socket.socket, agent: socket.socket, turns: list[Turn]) -> bool:
    """Once, from whoever says something; False at the end."""
    source = select.select([client, agent], [], [])[0][0]
    side, sink = (">", agent) if source is client else ("<", client)
    data = source.recv(1 << 16)
    if not data:  # either is the first to close
        return False
    before = turns.pop()[1] if turns and turns[-1][0] == side else b""
    turns.append((side, before + data))
    sink.sendall(data)
    return True


_SCRIPT = """
import sys, numpy, tvm
from tvm import rpc

remote = rpc.connect("127.0.0.1", int(sys.argv[1]), "golden", session_timeout=60)
remote.upload(bytearray(b"good morning"), "greeting")
assert remote.download("greeting") == b"good morning"
assert remote.listdir(".") == "greeting"
device = remote.cpu()
assert device.exist
x = tvm.runtime.tensor(numpy.arange(6, dtype="float32").reshape(2, 3), device)
y = tvm.runtime.empty((2, 3), "float32", device)
x.copyto(y)
assert (y.numpy() == x.numpy()).all()
try:
    remote.load_module("missing.so")
except RuntimeError:
    pass
del x, y
remote.get_function("CloseRPCConnection")()
"""


def recorded() -> list[Turn]:
    lines = RECORDED.read_text().splitlines()
    return [(line[0], bytes.fromhex(line[2:])) for line in lines if line[0] in "<>"]


def test_the_client_and_the_agent_say_what_they_said(agent: Agent) -> None:
    assert record(agent.port) == recorded()


def test_the_agent_answers_a_recorded_client(agent: Agent) -> None:
    with _connect(agent) as connection:
        for side, data in recorded():
            if side == ">":
                connection.sendall(data)
            else:
                assert _read(connection, len(data)) == data
        assert connection.recv(1) == b""


def test_a_client_that_is_cut_off_anywhere_leaves_nothing(agent: Agent) -> None:
    turns = recorded()
    said = b"".join(data for side, data in turns if side == ">")
    for end in range(0, len(said), 7):
        with _connect(agent) as connection:
            connection.sendall(said[:end])
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass
    until = time.monotonic() + 10
    while any((agent.folder / "sessions").iterdir()):
        assert time.monotonic() < until
        time.sleep(0.02)
    test_the_agent_answers_a_recorded_client(agent)


# ---- packets that no client would send


class Client:
    """Says what it is told to."""

    def __init__(self, agent: Agent) -> None:
        self._socket = _connect(agent)
        key = b"client:raw"
        self._socket.sendall(struct.pack("<ii", 0xFF271, len(key)) + key)
        assert _read(self._socket, 8 + len(key)) == struct.pack("<ii", 0xFF271, len(key)) + (
            b"server:raw"
        )
        assert self.say(2, struct.pack("<Q5si", 5, b"0.8.0", 0)) == _VOID

    def say(self, code: int, body: bytes, size: int | None = None) -> bytes:
        """What is answered, from the code on; nothing if the session has ended."""
        self.send(code, body, size)
        return self.answer()

    def send(self, code: int, body: bytes, size: int | None = None) -> None:
        size = 4 + len(body) if size is None else size
        self._socket.sendall(struct.pack("<Qi", size, code) + body)

    def answer(self) -> bytes:
        head = _read(self._socket, 8)
        return _read(self._socket, struct.unpack("<Q", head)[0]) if head else b""

    def handle(self, code: int, body: bytes) -> int:
        """Of a function or memory that it asks for."""
        _, count, kind, handle = struct.unpack("<iiiQ", self.say(code, body))
        assert (count, kind) == (1, 4)
        return handle

    def function(self, name: bytes) -> int:
        return self.handle(9, struct.pack("<iiQ", 1, 8, len(name)) + name)

    def memory(self, size: int) -> int:
        return self.handle(13, struct.pack("<i", 4) + _DEVICE + _int(size) + _int(64) + _FLOAT)


_VOID = struct.pack("<iii", 4, 1, 0)
_DEVICE = struct.pack("<iii", 6, 1, 0)
_FLOAT = struct.pack("<iBBHi", 5, 2, 32, 1, 0)


def _int(value: int) -> bytes:
    return struct.pack("<iq", 1, value)


def _pointer(value: int) -> bytes:
    return struct.pack("<iQ", 4, value)


def tensor(handle: int, extent: int, offset: int = 0, rank: int = 1, device: int = 1) -> bytes:
    return struct.pack("<QiiiBBHqQ", handle, device, 0, rank, 2, 32, 1, extent, offset)


def _connect(agent: Agent) -> socket.socket:
    return socket.create_connection(("127.0.0.1", agent.port), 20)


def _read(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = connection.recv(size - len(found))
        if not more:
            return b""
        found += more
    return found


@pytest.fixture
def client(agent: Agent) -> Client:
    return Client(agent)


def refused(answer: bytes, words: str) -> None:
    code, count, kind, size = struct.unpack("<iiiQ", answer[:20])
    assert (code, count, kind) == (5, 1, 8)
    assert len(answer) == 20 + size and words in answer[20:].decode()


@pytest.mark.parametrize("handle", [0, 1, 2**32, 2**64 - 1, 0x7F0000001000])
def test_invented_handles_are_no_functions_and_no_memory(client: Client, handle: int) -> None:
    no_arguments = struct.pack("<i", 0)
    refused(client.say(3, struct.pack("<Q", handle) + no_arguments), "never found")
    refused(client.say(10, struct.pack("<i", 1) + _pointer(handle)), "no such function")
    refused(client.say(14, struct.pack("<i", 2) + _DEVICE + _pointer(handle)), "never allocated")
    refused(client.say(6, tensor(handle, 4) + struct.pack("<Q", 16)), "freed or never allocated")
    data = struct.pack("<Q", 16) + bytes(16)
    refused(client.say(7, tensor(handle, 4) + data), "freed or never allocated")


def test_a_handle_is_good_once(client: Client) -> None:
    old = client.function(b"tvm.rpc.server.listdir")
    free = struct.pack("<i", 1) + _pointer(old)
    assert client.say(10, free) == _VOID
    refused(client.say(10, free), "no such function")
    assert client.function(b"tvm.rpc.server.listdir") != old
    refused(client.say(3, struct.pack("<Qi", old, 0)), "never found")
    memory = client.memory(16)
    release = struct.pack("<i", 2) + _DEVICE + _pointer(memory)
    assert client.say(14, release) == _VOID
    refused(client.say(14, release), "freed before")


def test_a_function_is_no_memory_and_the_other_way_round(client: Client) -> None:
    function, memory = client.function(b"tvm.rpc.server.listdir"), client.memory(16)
    refused(client.say(6, tensor(function, 4) + struct.pack("<Q", 16)), "never allocated")
    refused(client.say(3, struct.pack("<Qi", memory, 0)), "never found")
    refused(client.say(10, struct.pack("<i", 1) + _pointer(memory)), "no such function")


@pytest.mark.parametrize(
    ("extent", "offset"), [(5, 0), (4, 1), (1, 2**64 - 1), (4, 2**63), (2**60, 0), (1, 17)]
)
def test_tensors_stay_within_their_memory(client: Client, extent: int, offset: int) -> None:
    memory, bytes_ = client.memory(16), extent * 4
    place = tensor(memory, extent, offset)
    refused(client.say(6, place + struct.pack("<Q", bytes_)), "is beyond the 16 bytes")
    # the bytes of a copy that is refused are passed over
    packet = place + struct.pack("<Q", bytes_) + bytes(64)
    refused(client.say(7, packet), "is beyond the 16 bytes")
    both = struct.pack("<ii", 3, 7) + place + struct.pack("<i", 7) + place + _pointer(0)
    refused(client.say(16, both), "is beyond the 16 bytes")
    assert client.say(6, tensor(memory, 4) + struct.pack("<Q", 16))[:4] == struct.pack("<i", 8)


def test_a_copy_is_as_long_as_its_tensor(client: Client) -> None:
    memory = client.memory(16)
    for size in (0, 15, 17, 2**40):
        refused(client.say(6, tensor(memory, 4) + struct.pack("<Q", size)), "was copied as")
    refused(client.say(6, tensor(memory, 4, device=2) + struct.pack("<Q", 16)), "cpu(0) only")


@pytest.mark.parametrize(
    ("size", "alignment", "words"),
    [
        (-1, 64, "no negative size"), (2**62, 64, "more than this agent gives"),
        (65 << 20, 64, "more than this agent gives"), (16, 3, "cannot be aligned"),
        (16, 1 << 40, "cannot be aligned"),
    ],
)  # fmt: skip
def test_memory_that_cannot_be_is_refused(
    client: Client, size: int, alignment: int, words: str
) -> None:
    request = struct.pack("<i", 4) + _DEVICE + _int(size) + _int(alignment) + _FLOAT
    refused(client.say(13, request), words)


def test_requests_with_other_arguments_are_refused(client: Client) -> None:
    for code in range(9, 22):
        refused(client.say(code, struct.pack("<i", 0)), "arguments, not 0")
        refused(client.say(code, struct.pack("<i", 1) + _int(7)), "argument")
    listing = client.function(b"tvm.rpc.server.listdir")
    refused(client.say(3, struct.pack("<Qi", listing, 1) + _int(7)), "argument 0 of listdir")


_HUGE = 2**63


@pytest.mark.parametrize(
    ("code", "body", "words"),
    [
        (99, b"", "no such code"),
        (-1, b"", "no such code"),
        (0, b"", "no such code"),
        (9, struct.pack("<i", 2**31 - 1), "too many arguments"),
        (9, struct.pack("<i", -1), "too many arguments"),
        (9, struct.pack("<iiQ", 1, 8, _HUGE), "a string is too long"),
        (9, struct.pack("<iiQ", 1, 8, 100) + b"short", "a string is too long"),
        (9, struct.pack("<iiQ", 1, 9, 2**40), "a string is too long"),
        (9, struct.pack("<ii", 1, 1), "ends within a value"),
        (9, struct.pack("<ii", 1, 70), "ends within a value"),
        (9, struct.pack("<iiI", 1, 70, 1), "an object that this agent does not know"),
        (9, struct.pack("<iiIQ", 1, 115, 115, 7), "an object that this agent does not know"),
        (9, struct.pack("<ii", 1, 40), "unknown type"),
        (9, struct.pack("<iiiQ", 1, 0, 1, 7), "longer than its values"),
        (6, tensor(0, 1, rank=17), "more than 16 dimensions"),
        (6, tensor(0, 1, rank=-1), "more than 16 dimensions"),
        (6, tensor(0, -1) + bytes(8), "impossible shape"),
        (6, tensor(0, 2**62) + bytes(8), "impossible shape"),
        (6, tensor(0, 1)[:20], "ends within a value"),
    ],
)
def test_malformed_packets_end_the_session(
    agent: Agent, client: Client, code: int, body: bytes, words: str
) -> None:
    refused(client.say(code, body), words)
    assert client.answer() == b""
    Client(agent)


def test_a_packet_of_any_size_is_no_memory(agent: Agent, client: Client) -> None:
    refused(client.say(9, struct.pack("<i", 1), size=2**64 - 1), "longer than 1 GiB")
    assert client.answer() == b""
    waiting = Client(agent)
    waiting.send(9, struct.pack("<iiQ", 1, 9, 2**30 - 64), size=2**30)
    time.sleep(0.2)
    children = Path(f"/proc/{agent.process.pid}/task/{agent.process.pid}/children")
    assert max(_resident(int(pid)) for pid in children.read_text().split()) < 8 << 20


def test_another_version_and_other_keys_are_refused(agent: Agent) -> None:
    with _connect(agent) as connection:
        key = b"server:raw"
        connection.sendall(struct.pack("<ii", 0xFF271, len(key)) + key)
        assert _read(connection, 4) == struct.pack("<i", 0xFF271 + 2)
    client = Client(agent)
    refused(client.say(2, struct.pack("<Q5si", 5, b"0.9.0", 0)), "speaks version 0.8.0")
    refused(client.say(2, struct.pack("<Q4si", 4, b"0.80", 0)), "speaks version 0.8.0")


def test_a_handshake_that_stops_holds_up_nobody(agent: Agent) -> None:
    with _connect(agent) as silent, _connect(agent) as slow:
        silent.sendall(struct.pack("<ii", 0xFF271, 100) + b"client:")
        slow.sendall(struct.pack("<ii", 0xFF271, 2**31 - 1))
        assert slow.recv(1) == b""
        threads = [threading.Thread(target=lambda: Client(agent)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()


def _resident(pid: int) -> int:
    text = Path(f"/proc/{pid}/statm").read_text()
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    with Agent(Path(tempfile.mkdtemp()), "--memory", "64") as recorder:
        lines = [f"{side} {data.hex()}\n" for side, data in record(recorder.port)]
        RECORDED.write_text("".join(lines))
