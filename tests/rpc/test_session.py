"""The host's side of the protocol against a small agent that follows it, or does not."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from armlet.errors import (
    DeviceBusyError,
    DeviceConnectionError,
    DeviceCrashError,
    DeviceError,
    DeviceKeyError,
    DeviceProtocolError,
    DeviceTimeoutError,
    ExecutionError,
    NotOnDeviceError,
    SettingError,
)
from armlet.rpc import session as protocol
from armlet.rpc.channel import Channel, connect, read_key, write_key
from armlet.rpc.session import Session

from .stub import Stub, done, part, text

KEY = bytes(range(32))
STATE = struct.pack("<ddQIII", 12.5, 41.0, 1 << 30, 2, 1800000, 2400000)


@pytest.fixture(params=[None, KEY], ids=["plain", "keyed"])
def stub(request):
    made = Stub(request.param)
    yield made
    made.close()


def session_of(stub: Stub) -> Session:
    return Session(connect("127.0.0.1", stub.port, stub.key, where="phone"))


def test_a_session_begins_with_hello_and_gets_facts(stub):
    stub.answers[1] = lambda _: [done(text('{"system": "android"}'))]
    with session_of(stub) as session:
        assert session.facts == {"system": "android"}
    (code, fields), *_ = stub.seen
    assert code == 1 and b" at " in fields


def test_plain_connections_do_without_cryptography():
    stub = Stub()
    code = (
        "import sys; from armlet.rpc import channel, session;"
        f"session.Session(channel.connect('127.0.0.1', {stub.port})).close();"
        "assert 'cryptography' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    stub.close()


def test_requests_do_not_wait_for_answers(stub):
    """All inputs are at the agent before it answers the first."""
    arrived = threading.Semaphore(0)
    gate = threading.Event()

    def slow(_: bytes):
        arrived.release()
        gate.wait(5)
        return [done()]

    stub.answers[6] = slow
    stub.answers[7] = lambda _: [
        part(struct.pack("<IQI", 0, 0, 8) + np.float64(3).tobytes()), done(struct.pack("<d", 0.25))
    ]  # fmt: skip
    result = np.zeros(1)
    with session_of(stub) as session:
        threading.Timer(0.05, gate.set).start()
        assert session.run(1, [np.ones(3), np.ones(2)], [result]) == 0.25
    assert result[0] == 3
    assert [code for code, _ in stub.seen] == [1, 6, 6, 7]


def test_an_upload_goes_on_where_it_was(stub):
    data = os.urandom((2 << 20) + 5)
    hash = hashlib.sha256(data).digest()
    stub.answers[2] = lambda _: [done(struct.pack("<QQ", 1000, 2**64 - 1))]
    stub.answers[3] = lambda fields: [done(fields[40:48])]
    with session_of(stub) as session:
        assert session.have([hash, bytes(32)]) == [1000, None]
        session.put(hash, data, 1000)
    sent, at = b"", 1000
    for code, fields in stub.seen:
        if code == 3:
            total, offset, size = struct.unpack("<QQI", fields[32:52])
            assert (fields[:32], total, offset) == (hash, len(data), at)
            sent, at = sent + fields[52:], at + size
    assert sent == data[1000:]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (1, DeviceTimeoutError), (2, DeviceCrashError), (6, ExecutionError), (7, DeviceBusyError),
        (8, NotOnDeviceError), (99, DeviceError),
    ],
)  # fmt: skip
def test_a_status_is_an_exception_and_the_session_goes_on(stub, status, error):
    stub.answers[5] = lambda _: [done(status=status, reason="it says why")]
    stub.answers[13] = lambda _: [done(STATE)]
    with session_of(stub) as session:
        with pytest.raises(error, match="phone: it says why"):
            session.close_model(1)
        found = session.state()
    assert (found.temperature, found.mhz) == (41.0, (1800.0, 2400.0))


def test_what_a_callback_raises_comes_after_the_answer(stub):
    value = struct.pack("<I", 0) + text("v") + struct.pack("<IIqQI", 2, 1, 1, 0, 4) + bytes(4)
    stub.answers[10] = lambda _: [part(value), part(value), done()]
    stub.answers[13] = lambda _: [done(STATE)]

    def fails(name: str, data: np.ndarray) -> None:
        raise KeyError(name)

    with session_of(stub) as session:
        with pytest.raises(KeyError):
            session.observe(1, fails)
        session.state()


@pytest.mark.parametrize("at", [0, 2, 4, 7, 20])
def test_a_changed_frame_ends_the_session_in_one_sentence(at):
    stub = Stub(KEY)
    stub.answers[13] = lambda _: [done(STATE)]
    with session_of(stub) as session:
        stub.spoil = lambda f: f[:at] + bytes([f[at] ^ 1]) + f[at + 1 :] + bytes(1 << 17)
        with pytest.raises((DeviceProtocolError, DeviceConnectionError)):
            session.state()
        with pytest.raises(DeviceConnectionError, match="closed"):
            session.state()
    stub.close()


@pytest.mark.parametrize("host, agent", [(None, KEY), (KEY, None), (KEY, bytes(32))])
def test_keys_that_differ(host, agent):
    stub = Stub(agent)
    with pytest.raises(DeviceKeyError, match="key"):
        connect("127.0.0.1", stub.port, host, where="phone")
    stub.close()


def test_another_version_and_a_full_agent():
    for answer, error in ((1, DeviceProtocolError), (4, DeviceBusyError)):
        stub = Stub(refuses=answer)
        with pytest.raises(error):
            connect("127.0.0.1", stub.port, patience=0.1)
        stub.close()


def test_nobody_there_is_told_after_trying_again():
    stub = Stub()
    stub.close()
    begun = time.monotonic()
    with pytest.raises(DeviceConnectionError, match="nothing answers"):
        connect("127.0.0.1", stub.port, patience=0.3)
    assert 0.1 < time.monotonic() - begun < 3


def test_silence_and_a_cut_connection_are_told(monkeypatch):
    monkeypatch.setattr(protocol, "PATIENCE", 0.2)
    stub = Stub()
    stub.answers[13] = lambda _: []
    with session_of(stub) as session, pytest.raises(DeviceTimeoutError, match=r"0\.3 s"):
        session.ask(protocol.STATE, seconds=0.1)
    stub.answers[13] = lambda _: [][1]
    with session_of(stub) as session:
        stub.spoil = lambda frame: frame[:5]
        stub.answers[13] = lambda _: [done(STATE)]
        with pytest.raises((DeviceConnectionError, DeviceTimeoutError)):
            session.ask(protocol.STATE, seconds=0.1)
    stub.close()


def test_a_heartbeat_keeps_a_session_alive(monkeypatch):
    monkeypatch.setattr(protocol, "HEARTBEAT", 0.05)
    stub = Stub()
    stub.answers[13] = lambda _: [done(STATE)]
    with session_of(stub):
        time.sleep(0.3)
    assert [code for code, _ in stub.seen].count(13) >= 2
    stub.close()


def test_keys_are_made_and_read(tmp_path):
    path = tmp_path / "key"
    write_key(path)
    assert len(read_key(path)) == 32 and path.stat().st_mode & 0o077 == 0
    with pytest.raises(SettingError, match="exists"):
        write_key(path)
    path.write_text("no key")
    with pytest.raises(SettingError, match="64 hexadecimal digits"):
        read_key(path)


def test_a_channel_that_fails_is_closed():
    stub = Stub(KEY)
    import socket

    connection = socket.create_connection(("127.0.0.1", stub.port))
    with pytest.raises(DeviceKeyError):
        Channel(connection, None, "phone")
    assert connection.fileno() < 0
    stub.close()
