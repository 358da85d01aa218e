"""Files by their content: cut off anywhere, damaged, sent twice at once, too many, or too large."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import threading

import pytest

from .agents import FAILED, MISSING, NEEDS_CC, OK, REFUSED, Agent, block, host, sanitized

pytestmark = NEEDS_CC
WHOLE = 2**64 - 1
HAVE, PUT, REMOVE = 2, 3, 14


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    with Agent(tmp_path_factory.mktemp("agent") / "files") as started:
        yield started


def blob(size: int, seed: int = 0) -> tuple[bytes, bytes]:
    data = hashlib.shake_128(seed.to_bytes(4, "little")).digest(size)
    return data, hashlib.sha256(data).digest()


def put_fields(name: bytes, total: int, offset: int, data: bytes) -> bytes:
    return name + struct.pack("<QQ", total, offset) + block(data)


def put(found, name: bytes, total: int, offset: int, data: bytes):
    status, reason, fields = found.ask(PUT, put_fields(name, total, offset, data))
    return status, struct.unpack("<Q", fields)[0] if status == OK else reason


def have(found, name: bytes) -> int:
    status, _, fields = found.ask(HAVE, struct.pack("<I", 1) + name)
    assert status == OK
    return struct.unpack("<Q", fields)[0]


def test_an_upload_that_is_cut_off_at_any_byte_goes_on_there(agent):
    data, name = blob(300)
    fields = put_fields(name, len(data), 0, data)
    message = struct.pack("<HHI", PUT, 0, 9) + fields
    for cut in range(len(message)):
        with host(agent) as found:
            found.socket.sendall(struct.pack("<I", len(message)) + message[:cut])
        with host(agent) as found:
            present = have(found, name)
            assert present in (0, len(data))  # a message counts as a whole, or not at all
            at = min(cut, len(data) - 1)
            assert put(found, name, len(data), 0, data[:at]) == (OK, at)
        with host(agent) as found:
            assert have(found, name) == at
            assert put(found, name, len(data), at, data[at:]) == (OK, len(data))
            assert have(found, name) == WHOLE
            assert found.ask(REMOVE, name)[0] == OK
    stored = agent.folder / "blobs"
    assert not list(stored.iterdir())


def test_what_is_there_needs_not_be_sent_again(agent):
    data, name = blob(5000, 1)
    with host(agent) as found:
        assert put(found, name, len(data), 0, data) == (OK, len(data))
        assert put(found, name, len(data), 100, data[100:200]) == (OK, len(data))
        assert have(found, name) == WHOLE
        assert (agent.folder / "blobs" / name.hex()).read_bytes() == data


def test_pieces_may_overlap_and_not_leave_holes(agent):
    data, name = blob(1000, 2)
    with host(agent) as found:
        assert put(found, name, 1000, 0, data[:600]) == (OK, 600)
        status, reason = put(found, name, 1000, 601, data[601:])
        assert status == REFUSED and "600 bytes are there" in reason
        assert put(found, name, 1000, 300, data[300:800]) == (OK, 800)
        assert put(found, name, 1000, 0, data) == (OK, 1000)
        assert have(found, name) == WHOLE


def test_damaged_content_is_refused_and_forgotten(agent):
    data, name = blob(1000, 3)
    with host(agent) as found:
        assert put(found, name, 1000, 0, data[:500]) == (OK, 500)
        status, reason = put(found, name, 1000, 500, bytes(500))
        assert status == REFUSED and "not what its hash says" in reason
        assert have(found, name) == 0
        # a part that is longer than the host says
        assert put(found, name, 1000, 0, data[:900]) == (OK, 900)
        assert put(found, name, 800, 0, b"")[0] == REFUSED
        assert have(found, name) == 0


def test_an_empty_file_is_a_file(agent):
    with host(agent) as found:
        assert put(found, hashlib.sha256(b"").digest(), 0, 0, b"") == (OK, 0)
        assert have(found, hashlib.sha256(b"").digest()) == WHOLE


def test_two_sessions_that_upload_the_same_take_turns(tmp_path):
    data, name = blob(3 << 20, 4)
    with Agent(tmp_path / "files", "--idle", "2") as agent:
        answers = []

        def upload() -> None:
            with host(agent) as found:
                for at in range(0, len(data), 1 << 18):
                    answers.append(put(found, name, len(data), at, data[at : at + (1 << 18)]))

        threads = [threading.Thread(target=upload) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {status for status, _ in answers} == {OK}
        assert (agent.folder / "blobs" / name.hex()).read_bytes() == data
        # one that stops in the middle does not hold up others for ever
        data, name = blob(1000, 5)
        with host(agent) as idle, host(agent) as other:
            assert put(idle, name, 1000, 0, data[:10]) == (OK, 10)
            assert put(other, name, 1000, 0, data) == (OK, 1000)
            assert idle.exactly(1) == b""


def test_the_least_recently_used_goes_when_there_are_too_many(tmp_path):
    with Agent(tmp_path / "files", "--store", "1") as agent, host(agent) as found:
        blobs = [blob(400_000, seed) for seed in range(10, 13)]
        for data, name in blobs[:2]:
            assert put(found, name, len(data), 0, data)[0] == OK
        assert have(found, blobs[0][1]) == WHOLE  # which is a use
        data, name = blobs[2]
        assert put(found, name, len(data), 0, data)[0] == OK
        assert [have(found, n) for _, n in blobs] == [WHOLE, 0, WHOLE]
        status, reason = put(found, bytes(32), (1 << 20) + 1, 0, b"")
        assert status == REFUSED and "more than the device keeps" in reason


def test_a_full_disk_is_told_and_leaves_what_was_there(tmp_path):
    """The limit on a file's size stands for it: writing fails in the middle, as on a full disk."""
    limited = ["sh", "-c", 'trap "" XFSZ; ulimit -f 40; exec "$@"', "sh", sanitized()]
    data, name = blob(60_000, 6)
    with Agent(tmp_path / "files", command=limited) as agent, host(agent) as found:
        assert put(found, name, len(data), 0, data[:9_000]) == (OK, 9_000)
        status, reason = put(found, name, len(data), 9_000, data[9_000:])
        assert status == FAILED and "cannot be written on the device" in reason
        assert have(found, name) == 9_000
        small, small_name = blob(100, 7)
        assert put(found, small_name, 100, 0, small) == (OK, 100)


def test_nothing_leaves_the_folder(agent):
    """Names are hashes, written as hexadecimal digits: none is a path."""
    hostile = b"../../../../tmp/hostile\0".ljust(32, b"/")
    with host(agent) as found:
        assert put(found, hostile, 5, 0, b"hello")[0] == REFUSED
        assert found.ask(REMOVE, hostile)[0] == MISSING
    assert not os.path.exists("/tmp/hostile")
    modes = [os.stat(agent.folder / name).st_mode & 0o077 for name in ("", "blobs", "sessions")]
    assert modes == [0, 0, 0]


def test_a_restarted_agent_has_what_the_last_one_had(tmp_path):
    data, name = blob(1000, 8)
    with Agent(tmp_path / "files") as agent, host(agent) as found:
        assert put(found, name, 1000, 0, data[:300]) == (OK, 300)
    with Agent(tmp_path / "files") as agent, host(agent) as found:
        assert have(found, name) == 300
        assert put(found, name, 1000, 300, data[300:]) == (OK, 1000)
        refused = subprocess.run(
            [sanitized(), "--listen", "127.0.0.1:0", "--folder", agent.folder],
            capture_output=True, text=True,
        )  # fmt: skip
        assert refused.returncode == 2 and "another agent uses the folder" in refused.stderr
