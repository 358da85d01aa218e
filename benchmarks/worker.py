"""The process of one runtime and one model: does what it is told over a pipe, by method name.

    python -m benchmarks.worker PEER FILE_DESCRIPTOR

Of its own so that memory is the runtime's alone, and so that a crash is one row's. Tensors
come and go as ``.npz`` files: the peers' environments need not have one NumPy.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

#: of Linux's <sys/prctl.h>
PR_SET_PDEATHSIG = 1


class Worker:
    def __init__(self, peer: str) -> None:
        self.peer = import_module(f"benchmarks.peers.{peer}")

    def convert(self, model: str, feeds: str, folder: str) -> None:
        os.chdir(folder)  # some converters leave files where they are
        self.peer.convert(Path(model), dict(np.load(feeds)), Path(folder))

    def open(self, folder: str, feeds: str, threads: int) -> None:
        self.model = self.peer.Model(Path(folder), dict(np.load(feeds)), threads)

    def answer(self, path: str) -> None:
        """Runs once, and writes the outputs in their order."""
        self.model.run()
        np.savez(path, *self.model.outputs())

    def times(self, seconds: float, warmup: float) -> list[float]:
        return self.model.times(seconds, warmup)

    def peak_mib(self) -> float:
        """Of resident memory since the process began to run this program."""
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    # a stopped process would not notice that its parent is gone
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    peer, descriptor = sys.argv[1:]
    pipe = Connection(int(descriptor))
    worker = Worker(peer)
    while True:
        try:
            method, *arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((True, getattr(worker, method)(*arguments)))
        except Exception as error:  # whatever a runtime raises belongs into the table
            text = str(error).strip() or type(error).__name__
            pipe.send((False, text.splitlines()[-1].strip()))


if __name__ == "__main__":
    main()
