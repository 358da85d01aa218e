"""Starting, ending, and what is left when something is killed."""

from __future__ import annotations

import os
import signal
import socket
import stat
import struct
import subprocess
import time
from pathlib import Path

import pytest

from armlet.compiler.link.agent import agent_program
from armlet.rpc.session import RUN, Request
from armlet.targets import target

from .agents import NEEDS_CC, Agent, faulty, host, sanitized, wait_until

pytestmark = NEEDS_CC


def refused(*options: object) -> str:
    """What the agent says when it does not start."""
    command = [str(part) for part in (sanitized(), *options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("armlet-agent: ") and done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "key"
    path.write_text(os.urandom(32).hex())
    path.chmod(0o600)
    return path


def test_off_loopback_it_demands_a_key(tmp_path, key):
    for address in ("0.0.0.0:0", "[::]:0", "192.0.2.1:9090", "[::ffff:127.0.0.1]:0"):
        said = refused("--listen", address, "--folder", tmp_path / "files")
        assert "needs a key" in said and "armlet device key" in said
    assert not (tmp_path / "files").exists()
    options = ["--listen", "0.0.0.0:0", "--key", str(key)]
    with Agent(tmp_path / "files", *options) as agent:
        assert agent.connect(bytes.fromhex(key.read_text())).state().seconds > 0


def test_a_key_must_be_one_and_a_secret(tmp_path, key):
    key.chmod(0o640)
    assert "others may read" in refused("--key", key, "--folder", tmp_path / "files")
    key.chmod(0o600)
    for text in ("", "12" * 31, "12" * 33, "xy" * 32):
        key.write_text(text)
        assert "64 hexadecimal digits" in refused("--key", key, "--folder", tmp_path / "files")
    missing = tmp_path / "none"
    assert "No such file" in refused("--key", missing, "--folder", tmp_path / "files")


def test_options_that_make_no_sense_are_told(tmp_path):
    folder = ["--folder", tmp_path / "files"]
    assert "no option --colour" in refused("--colour", "red")
    assert "--idle needs a value" in refused("--idle")
    assert "whole number" in refused("--idle", "1h")
    assert "whole number" in refused("--store", "0")
    for address in (
        "localhost:1",
        "127.0.0.1",
        "127.0.0.1:99999",
        "::1:80",
        "[::1]",
        "1.2.3:4",
        ":9",
    ):
        refused("--listen", address, *folder)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        assert "Address already in use" in refused("--listen", place, *folder)
    (tmp_path / "file").write_text("")
    assert "the folder" in refused("--folder", tmp_path / "file")


def test_ipv6_s_loopback_is_loopback(tmp_path):
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    try:
        socket.socket(socket.AF_INET6).bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6")
    with (
        Agent(tmp_path / "files", "--listen", "[::1]:0") as agent,
        socket.create_connection(("::1", agent.port), 5) as connection,
    ):
        connection.sendall(b"ALDP\1\0\0\0" + bytes(32))
        assert connection.recv(40)[:8] == b"ALDP\1\0\0\0"


def busy(agent: Agent, tmp_path):
    """A session with a model that hangs, which has started processes of its own."""
    data, name = faulty("fork", tmp_path)
    session = agent.connect()
    session.put(name, data)
    handle = session.open(name, threads=1).handle
    session._send(Request(RUN, struct.pack("<III", handle, 30_000, 0)))
    wait_until(lambda: len(agent.children()) >= 5)
    return session


def gone(pids: list[int]) -> bool:
    def runs(pid: int) -> bool:
        try:
            with open(f"/proc/{pid}/stat") as file:
                return file.read().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    return not any(map(runs, pids))


def test_sigterm_ends_every_process_and_removes_their_folders(tmp_path):
    with Agent(tmp_path / "files") as agent:
        busy(agent, tmp_path)
        children = agent.children()
    wait_until(lambda: gone(children))


def test_a_killed_session_costs_the_others_nothing(tmp_path):
    with Agent(tmp_path / "files") as agent, host(agent) as other:
        (kept,) = agent.children()
        busy(agent, tmp_path)
        children = [pid for pid in agent.children() if pid != kept]
        os.kill(children[0], signal.SIGKILL)
        wait_until(lambda: agent.children() == [kept])
        wait_until(lambda: gone(children))
        assert other.ask(13)[0] == 0


def test_a_killed_agent_takes_its_sessions_along_and_the_next_one_tidies_up(tmp_path):
    data, name = faulty("loop", tmp_path)
    agent = Agent(tmp_path / "files")
    session = agent.connect()
    session.put(name, data)
    handle = session.open(name, threads=1).handle
    session._send(Request(RUN, struct.pack("<III", handle, 30_000, 0)))
    children = agent.children()
    (agent.folder / "sessions" / "99999" / "inner").mkdir(parents=True)
    (agent.folder / "sessions" / "99999" / "inner" / "file").symlink_to("/etc/passwd")
    agent.process.kill()
    agent.process.wait()
    wait_until(lambda: gone(children))
    with Agent(tmp_path / "files") as again:
        assert not list((again.folder / "sessions").iterdir())
        with again.connect() as session:
            assert session.have([name]) == [None]
    assert os.path.exists("/etc/passwd")


def test_many_sessions_come_and_go(tmp_path):
    with Agent(tmp_path / "files") as agent:
        for _ in range(5):
            sessions = [agent.connect() for _ in range(30)]
            assert len(agent.children()) == 30
            for session in sessions:
                session.close()
            wait_until(lambda: not agent.children())
        files = os.listdir(f"/proc/{agent.process.pid}/fd")
        assert len(files) < 12
        with agent.connect() as session:
            assert session.state().seconds > 0


def test_an_idle_agent_sleeps_and_is_small(tmp_path):
    program = agent_program(target())
    with Agent(tmp_path / "files", command=[program]) as agent:
        with agent.connect() as session:
            assert session.state().seconds > 0
        wait_until(lambda: not agent.children())
        status = Path(f"/proc/{agent.process.pid}/status").read_text()
        resident = int(status.partition("VmRSS:")[2].split()[0])
        assert resident <= 2048
        before = ticks(agent.process.pid)
        time.sleep(0.5)
        assert ticks(agent.process.pid) == before
        mode = os.stat(agent.folder).st_mode
        assert stat.S_IMODE(mode) == 0o700


def ticks(pid: int) -> tuple[str, ...]:
    with open(f"/proc/{pid}/stat") as file:
        return tuple(file.read().rpartition(")")[2].split()[11:13])
