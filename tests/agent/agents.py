"""The agent under the sanitizers, and hosts that keep to the protocol or do not."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import pytest

from armlet.compiler.link import agent, runtime, toolchain
from armlet.rpc.channel import Channel
from armlet.rpc.session import Session

from ..runtime import tiny

CC = shutil.which("gcc")
FLAGS = (
    "-std=c11", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined",
    "-Wall", "-Wextra", "-Wconversion", "-Werror", "-rdynamic", "-pthread",
)  # fmt: skip
#: what is not there is asked for on purpose; reports of crashes are the agent's to make
OPTIONS = "allocator_may_return_null=1:allow_user_segv_handler=1:handle_abort=0:detect_leaks=0"
#: the sanitizer's own memory is limited, too, where a session asks for a limit that is too small
LIMITED = re.compile(
    r"==\d+==ERROR: AddressSanitizer failed to allocate 0x\w+ \(\d+\) bytes of \w+ "
    r"\(error code: 12\)\n"
)
NEEDS_CC = pytest.mark.skipif(CC is None, reason="no C compiler on this machine")
OK, TIMEOUT, CRASHED, OUT_OF_MEMORY, REFUSED, WRONG_OUTPUT, FAILED, BUSY, MISSING = range(9)


def sources() -> list[Path]:
    """The agent's C files, without those that stand in for start-up files of the C library."""
    own = [p for p in sorted(agent.SOURCES.glob("*.c")) if p.name != "start.c"]
    return [*own, *agent.shared_sources()]


@lru_cache(maxsize=1)
def sanitized() -> Path:
    """The agent, with AddressSanitizer and UndefinedBehaviorSanitizer."""
    includes = [f"-I{runtime.HEADER.parent}", f"-I{runtime.SOURCES}"]

    def make(folder: Path) -> None:
        objects = agent.compile_cryptography(tiny.TRIPLE, folder)
        files = [str(path) for path in (*sources(), *objects)]
        command = [str(CC), *FLAGS, *includes, *files, "-ldl", "-o", agent.NAME]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    # workers of one run wait for the first of them
    with (toolchain.cache_dir("agent-sanitized") / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _made_once(make)


def _made_once(make: Callable[[Path], None]) -> Path:
    headers = [*runtime.SOURCES.glob("*.h"), *agent.SOURCES.glob("*.h"), runtime.HEADER]
    watched = [*sources(), *sorted(headers), agent.SOURCES / "crypto.zig"]
    return runtime.compiled_once("agent-sanitized", FLAGS, watched, make) / agent.NAME


class Agent:
    """A running agent. It must end well, and say nothing of memory or undefined behaviour."""

    def __init__(self, folder: Path, *options: str, command: Sequence[object] = ()) -> None:
        self.folder = folder
        self.log = folder.with_suffix(".log")
        command = [*(command or [sanitized()]), "--folder", folder, *options]
        if "--listen" not in options:
            command += ["--listen", "127.0.0.1:0"]
        environment = {**os.environ, "ASAN_OPTIONS": OPTIONS}
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*map(str, command)], stdout=subprocess.PIPE, stderr=log, text=True, env=environment
            )
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line.startswith("listening on"), self.log.read_text()
        self.port = int(line.rpartition(":")[2])

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        assert self.process.wait(20) == 0
        self.check_log()
        assert not list((self.folder / "sessions").iterdir())

    def check_log(self) -> None:
        text = LIMITED.sub("", self.log.read_text())
        assert "Sanitizer" not in text and "runtime error" not in text, text

    def raw(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), 10)
        connection.settimeout(10)
        return connection

    def connect(self, key: bytes | None = None, wait: float = 0.0) -> Session:
        return Session(Channel(self.raw(), key, "device"), wait=wait)

    def children(self) -> list[int]:
        """Processes below the agent's own."""
        parents: dict[int, int] = {}
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    parents[int(folder.name)] = int(parent)
        found: list[int] = []
        below = {self.process.pid}
        while below:
            below = {p for p, parent in parents.items() if parent in below}
            found += below
        return sorted(found)


def wait_until(condition, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)


class Host:
    """Speaks the protocol without a key, and lets a test say anything."""

    def __init__(self, connection: socket.socket, greet: bool = True) -> None:
        self.socket, self.number = connection, 0
        if greet:
            connection.sendall(greeting())
            assert self.exactly(40) == b"ALDP" + struct.pack("<HH", 1, 0) + bytes(32)

    def exactly(self, size: int) -> bytes:
        """So many bytes, fewer only at the end of the connection."""
        data = b""
        with contextlib.suppress(ConnectionResetError):
            while len(data) < size and (more := self.socket.recv(size - len(data))):
                data += more
        return data

    def send(self, code: int, fields: bytes = b"") -> None:
        self.number += 1
        message = struct.pack("<HHI", code, 0, self.number) + fields
        self.socket.sendall(struct.pack("<I", len(message)) + message)

    def answer(self) -> tuple[int, str, bytes]:
        """Status, reason and fields; () and so on at the end of the connection."""
        head = self.exactly(4)
        if len(head) < 4:
            return -1, "", b""
        message = self.exactly(*struct.unpack("<I", head))
        kind, status, _, size = struct.unpack_from("<HHII", message)
        assert kind == 2
        return status, message[12 : 12 + size].decode(), message[12 + size :]

    def ask(self, code: int, fields: bytes = b"") -> tuple[int, str, bytes]:
        self.send(code, fields)
        return self.answer()

    def hello(self) -> None:
        assert self.ask(1, block(b"a test") + struct.pack("<I", 0))[0] == OK


def greeting(version: int = 1, flags: int = 0, key: bytes = bytes(32)) -> bytes:
    return b"ALDP" + struct.pack("<HH", version, flags) + key


def block(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


@contextlib.contextmanager
def host(served: Agent) -> Iterator[Host]:
    with served.raw() as connection:
        found = Host(connection)
        found.hello()
        yield found


#: stand-ins for a kernel, which run as the layer "net/increment"
FAULTY = {
    "crash": "*(volatile int *)0x10 = 1;",
    "loop": "for (;;) __asm__ volatile(\"\");",
    "hog": """
    for (;;) {
        char *p = malloc(1 << 20);
        for (int i = 0; i < 1 << 20; i += 4096) ((volatile char *)p)[i] = 1;
    }""",
    "exit": "_exit(3);",
    "fork": "for (int i = 0; i < 3; i++) if (!fork()) for (;;) pause(); for (;;) pause();",
}  # fmt: skip


def faulty(kind: str, folder: Path) -> tuple[bytes, bytes]:
    """An artifact that does something bad in its last layer: its bytes and their hash."""
    path = folder / f"{kind}.so"
    text = f"""
void *malloc(__SIZE_TYPE__);
long syscall(long, ...);
static int fork(void) {{ return (int)syscall(57); }}
static void pause(void) {{ syscall(34); }}
static void _exit(int status) {{ syscall(231, status); }}
void armlet_k_increment(const float *x, float *y, int begin, int end, void *scratch) {{
    (void)x, (void)y, (void)begin, (void)end, (void)scratch, (void)fork, (void)pause, (void)_exit;
    if (begin > 0) return;
    {FAULTY[kind]}
}}"""
    tiny.artifact_for(tiny.TinyTarget(), path, text)
    return content(path)


def sound(folder: Path) -> tuple[bytes, bytes]:
    path = folder / "sound.so"
    tiny.artifact(path)
    return content(path)


def content(path: Path) -> tuple[bytes, bytes]:
    data = path.read_bytes()
    return data, hashlib.sha256(data).digest()
