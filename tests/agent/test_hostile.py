"""Hosts that have the wrong key, replay, cut off or send nonsense: the agent stays and says no."""

from __future__ import annotations

import random
import socket
import struct

import pytest

from armlet.errors import DeviceError, DeviceKeyError
from armlet.rpc.channel import Channel
from armlet.rpc.session import Session

from .agents import NEEDS_CC, OK, REFUSED, Agent, Host, block, greeting, host, wait_until

pytestmark = NEEDS_CC
KEY = bytes(range(32))
MESSAGE_BYTES = (1 << 20) + 1024


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    with Agent(tmp_path_factory.mktemp("agent") / "files") as started:
        yield started


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keyed")
    (folder / "key").write_text(KEY.hex() + "\n")
    (folder / "key").chmod(0o600)
    with Agent(folder / "files", "--key", str(folder / "key")) as started:
        yield started


def is_alive(agent: Agent, key: bytes | None = None) -> bool:
    with agent.connect(key) as session:
        return session.state().seconds > 0


class Recorded:
    """A socket that keeps what goes through it, and may change what comes."""

    def __init__(self, connection: socket.socket, change=lambda data, at: data) -> None:
        self._socket, self._change = connection, change
        self.sent, self.received = b"", b""

    def sendall(self, data) -> None:
        self.sent += data
        self._socket.sendall(data)

    def recv_into(self, buffer, size: int = 0, *flags) -> int:
        data = self._socket.recv(size or len(buffer))
        buffer[: len(data)] = self._change(data, len(self.received))
        self.received += data
        return len(data)

    def __getattr__(self, name):
        return getattr(self._socket, name)


# ---- keys


def test_the_right_key_opens_and_nothing_readable_passes(keyed):
    wire = Recorded(keyed.raw())
    with Session(Channel(wire, KEY, "device")) as session:
        facts = session.facts
    assert facts["system"] == "linux"
    for text in (b"linux", b"features", b"deadline", KEY, KEY.hex().encode()):
        assert text not in wire.received and text not in wire.sent


def test_a_wrong_key_is_noticed_by_both_sides(keyed):
    with pytest.raises(DeviceKeyError, match="key is another"):
        keyed.connect(bytes(32))
    # a host that does not check gets no further
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    public = X25519PrivateKey.generate().public_key().public_bytes_raw()
    with keyed.raw() as connection:
        connection.sendall(greeting(flags=1, key=public) + bytes(32))
        hostile = Host(connection, greet=False)
        assert hostile.exactly(72)[6:8] == bytes(2)
        assert hostile.exactly(1) == b""
    assert is_alive(keyed, KEY)


def test_keys_are_demanded_on_the_right_side(agent, keyed):
    with pytest.raises(DeviceKeyError, match="demands a key"):
        keyed.connect(None)
    with pytest.raises(DeviceKeyError, match="without a key"):
        agent.connect(KEY)


def test_a_recorded_session_cannot_be_replayed(keyed):
    wire = Recorded(keyed.raw())
    with Session(Channel(wire, KEY, "device")):
        pass
    with keyed.raw() as connection:
        connection.sendall(wire.sent)
        hostile = Host(connection, greet=False)
        fresh = hostile.exactly(72)
        assert fresh[:8] == wire.received[:8] and fresh[8:40] != wire.received[8:40]
        assert hostile.exactly(1) == b""


def test_a_replayed_or_reordered_frame_ends_the_session(keyed):
    wire = Recorded(keyed.raw())
    session = Session(Channel(wire, KEY, "device"))
    hello = wire.sent[72:]
    wire.sendall(hello)
    with pytest.raises(DeviceError):
        session.state()
    assert is_alive(keyed, KEY)


@pytest.mark.parametrize("bit", [0, 40, 8 * 40, 8 * 60])
def test_a_changed_bit_ends_the_session(keyed, bit):
    with keyed.raw() as connection:
        wire = Recorded(connection)
        session = Session(Channel(wire, KEY, "device"))
        frames = bytearray(wire.sent[72:])  # the hello, with the next nonce's place taken
        frames[4 + bit // 8 % (len(frames) - 4)] ^= 1 << bit % 8
        connection.sendall(bytes(frames))
        with pytest.raises(DeviceError):
            session.state()
    assert is_alive(keyed, KEY)


def test_a_changed_answer_is_noticed_by_the_host(keyed):
    def change(data: bytes, at: int) -> bytes:
        return data[:-1] + bytes([data[-1] ^ 1]) if at >= 72 + 4 else data

    with pytest.raises(DeviceError, match="changed"):
        Session(Channel(Recorded(keyed.raw(), change), KEY, "device"))


def test_a_degenerate_public_key_is_declined(keyed):
    for point in (bytes(32), bytes([1, *[0] * 31])):  # of small order: RFC 7748, section 6.1
        with keyed.raw() as connection:
            connection.sendall(greeting(flags=1, key=point))
            assert Host(connection, greet=False).exactly(1) == b""
    assert is_alive(keyed, KEY)


def test_tvm_is_not_served_where_there_is_a_key(keyed):
    with keyed.raw() as connection:
        connection.sendall(struct.pack("<ii", 0xFF271, 10) + b"client:dev")
        assert Host(connection, greet=False).exactly(1) == b""


# ---- handshakes and frames


def test_versions_and_flags_that_are_unknown_are_declined(agent):
    for version, flags in ((2, 0), (0, 0), (1, 2)):
        with agent.raw() as connection:
            connection.sendall(greeting(version, flags))
            assert Host(connection, greet=False).exactly(40)[:8] == b"ALDP\1\0\1\0"
    for start in (b"GET / HTTP/1.1\r\n", b"ALDX" + bytes(36)):
        with agent.raw() as connection:
            connection.sendall(start)
            assert Host(connection, greet=False).exactly(1) == b""
    assert is_alive(agent)


def test_a_session_may_be_cut_off_at_every_byte(agent):
    """Up to there the agent has seen a prefix of a session; what it did is whole or nothing."""
    requests = [
        (1, block(b"a test") + struct.pack("<I", 0)),
        (2, struct.pack("<I", 1) + bytes(32)),
        (3, bytes(32) + struct.pack("<QQ", 8, 0) + block(b"half")),
        (13, b""),
    ]
    stream = greeting()
    for number, (code, fields) in enumerate(requests):
        message = struct.pack("<HHI", code, 0, number) + fields
        stream += struct.pack("<I", len(message)) + message
    for size in range(len(stream)):
        with agent.raw() as connection:
            connection.sendall(stream[:size])
            connection.shutdown(socket.SHUT_WR)
            Host(connection, greet=False).exactly(1 << 20)
    assert is_alive(agent)
    wait_until(lambda: not agent.children())


def test_lengths_beyond_a_message_end_the_session(agent):
    for length in (MESSAGE_BYTES + 1, 1 << 31, (1 << 32) - 1):
        with host(agent) as found:
            found.socket.sendall(struct.pack("<I", length))
            assert found.exactly(1) == b""
    with host(agent) as found:  # the longest is fine, if it makes no sense either
        found.socket.sendall(struct.pack("<I", MESSAGE_BYTES) + bytes(MESSAGE_BYTES))
        assert found.answer()[0] == REFUSED
        assert found.ask(13)[0] == OK
    for length in range(8):  # shorter than a request's head
        with host(agent) as found:
            found.socket.sendall(struct.pack("<I", length) + bytes(length))
            assert found.exactly(1) == b""


def test_the_first_request_is_hello(agent):
    with agent.raw() as connection:
        found = Host(connection)
        status, reason, _ = found.ask(13)
        assert status == REFUSED and "hello" in reason
        found.hello()
        assert found.ask(13)[0] == OK


def test_requests_of_every_number_and_wrong_lengths_are_answered(agent):
    with host(agent) as found:
        for code in (*range(15), 16, 255, 65535):  # 15 would make the connection TVM's
            for fields in (
                b"\xff",
                b"\xff" * 7,
                b"\xff" * 36,
                b"\xff" * 4096,
                bytes(5),
                bytes(4097),
            ):
                status, reason, _ = found.ask(code, fields)
                assert status > OK and reason.strip()
        assert found.ask(13)[0] == OK


def test_random_requests_are_answered(agent):
    rng = random.Random(0)
    with host(agent) as found:
        for _ in range(3000):
            code = rng.choice([*range(2, 15)])
            fields = rng.randbytes(rng.choice([4, 8, 36, 40, 52, rng.randrange(200)]))
            assert found.ask(code, fields)[0] >= OK
    assert is_alive(agent)


# ---- who takes part only to be in the way


def test_the_name_of_a_session_is_printable(agent, tmp_path):
    from .agents import sound

    data, name = sound(tmp_path)
    with agent.connect() as first, agent.raw() as connection:
        first.put(name, data)
        hostile = Host(connection)
        hostile.ask(1, block(b'"\x1b[31m\n' + b"x" * 200) + struct.pack("<I", 0))
        opening = name + struct.pack("<IiQIII", 1, 0, 0, 0, 0, 0)
        assert hostile.ask(4, opening[:-4])[0] == OK
        with pytest.raises(DeviceError, match=r"held by \?\?\[31m\?x{50}"):
            first.open(name)


def test_strangers_take_no_more_than_their_share(tmp_path):
    with Agent(tmp_path / "files") as agent:
        strangers = [agent.raw() for _ in range(16)]
        wait_until(lambda: len(agent.children()) == 16)
        with agent.raw() as late:
            assert Host(late, greet=False).exactly(40)[:8] == b"ALDP\1\0\4\0"
        assert len(agent.children()) == 16
        # who says nothing for 5 s goes
        wait_until(lambda: not agent.children(), 10)
        assert is_alive(agent)
        for connection in strangers:
            assert connection.recv(1) == b""
            connection.close()


def test_a_silent_session_ends(tmp_path):
    with Agent(tmp_path / "files", "--idle", "1") as agent, host(agent) as found:
        for _ in range(3):
            assert found.ask(13)[0] == OK
        assert found.exactly(1) == b""
