"""A worker's handle: calls its methods, and stops it while others run.

A stopped process has no spinning threads, so nobody needs to wait for another's to sleep.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
#: seconds after which a worker that does not answer is given up
PATIENCE = 600.0


class Refused(Exception):
    """A runtime cannot take the model; the text says why."""


class Process:
    def __init__(self, python: Path, peer: str) -> None:
        self.peer = peer
        self.pipe, theirs = Pipe()
        self.process = subprocess.Popen(
            [python, "-m", "benchmarks.worker", peer, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        theirs.close()

    def call(self, method: str, *arguments: Any) -> Any:
        try:
            self.pipe.send((method, *arguments))
            if not self.pipe.poll(PATIENCE):
                raise Refused(f"{method} takes more than {PATIENCE:.0f} s")
            fine, value = self.pipe.recv()
        except (EOFError, OSError):
            code = self.process.wait()
            how = signal.Signals(-code).name if code < 0 else f"status {code}"
            raise Refused(f"{method} ends the process: {how}") from None
        if not fine:
            raise Refused(value)
        return value

    @contextmanager
    def awake(self) -> Iterator[Process]:
        self.process.send_signal(signal.SIGCONT)
        try:
            yield self
        finally:
            self.process.send_signal(signal.SIGSTOP)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.pipe.close()
