"""A whole session as tshark captures it on loopback: nothing to read, to replay or to forge."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from armlet.errors import DeviceKeyError
from armlet.rpc.channel import Channel

from ..runtime import tiny
from .agents import NEEDS_CC, Agent, Host, sound, wait_until

TSHARK = shutil.which("tshark")
pytestmark = [
    NEEDS_CC,
    pytest.mark.slow,
    pytest.mark.skipif(TSHARK is None, reason="no tshark on this machine"),
]
KEY = bytes(range(32))
X = np.random.default_rng(0).standard_normal((8, 64)).astype(np.float32)


@contextlib.contextmanager
def capture(port: int, path: Path) -> Iterator[None]:
    """Packets of the port go to the file, all of them from here on."""
    command = [str(TSHARK), "-q", "-i", "lo", "-f", f"tcp port {port}", "-w", str(path)]
    log = path.with_suffix(".log")
    with log.open("w") as text, subprocess.Popen(command, stderr=text) as process:
        try:
            wait_until(lambda: "Capturing" in log.read_text() or process.poll() is not None)
            if process.poll() is not None:
                pytest.skip(f"tshark may not capture: {log.read_text().strip()}")
            yield
            # the kernel hands packets over in blocks
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1.5)
        finally:
            process.terminate()


def streams(path: Path) -> tuple[bytes, bytes]:
    """What the client said in the first stream of a capture, and what the server did."""
    shown = subprocess.run(
        [str(TSHARK), "-r", str(path), "-q", "-z", "follow,tcp,raw,0"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    lines = [
        line for line in shown.splitlines() if line and set(line.strip()) <= set("0123456789abcdef")
    ]
    said = (
        b"".join(bytes.fromhex(s) for s in lines if s.startswith("\t") == server)
        for server in (False, True)
    )
    client, server = said
    return client, server


def dissected(path: Path) -> str:
    """All that tshark makes of the packets, with their bytes."""
    command = [str(TSHARK), "-r", str(path), "-V"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keyed")
    (folder / "key").write_text(KEY.hex() + "\n")
    (folder / "key").chmod(0o600)
    with Agent(folder / "files", "--key", str(folder / "key")) as started:
        yield started


def test_a_captured_session_has_nothing_to_read_replay_or_forge(keyed, tmp_path):
    data, name = sound(tmp_path)
    packets = tmp_path / "session.pcapng"
    with capture(keyed.port, packets), keyed.connect(KEY) as session:
        session.put(name, data)
        handle = session.open(name).handle
        outputs = {"y": np.empty(8, np.float32), "z": np.empty((8, 64), np.float32)}
        session.run(handle, [X], list(outputs.values()))
    np.testing.assert_allclose(outputs["y"], tiny.evaluate(X)["y"], rtol=1e-5)
    client, server = streams(packets)
    assert len(client) > len(data) and len(server) > outputs["z"].nbytes

    # read: neither words, nor the model, nor numbers; what is encrypted does not compress
    secrets = [
        b"linux",
        b"features",
        b"net/increment",
        KEY,
        KEY.hex().encode(),
        name,
        name.hex().encode(),
    ]
    secrets += [
        data[at : at + 16] for at in range(0, len(data) - 16, 997) if any(data[at : at + 16])
    ]
    secrets += [X.tobytes()[:16], outputs["z"].tobytes()[:16]]
    assert not [s for s in secrets if s in client or s in server]
    assert len(zlib.compress(client, 9)) > 0.99 * len(client)
    assert "linux" not in dissected(packets)

    # replay: the same bytes open nothing
    with keyed.raw() as connection:
        with contextlib.suppress(OSError):
            connection.sendall(client)
        hostile = Host(connection, greet=False)
        assert hostile.exactly(72)[8:40] != server[8:40]
        assert hostile.exactly(1) == b""

    # forge: what the recorded agent said does not pass for one that has the key
    ours, theirs = socket.socketpair()
    with theirs, pytest.raises(DeviceKeyError, match="key is another"):
        theirs.sendall(server[:4096])
        Channel(ours, KEY, "device")
