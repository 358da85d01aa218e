"""A process that builds kernels: ``python -m armlet.compiler.lower.worker``.

Requests come on stdin and answers go to stdout, each pickled with its length before it.
A process of its own, rather than a fork, owes nothing to the caller's threads or ``__main__``.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import sys
from typing import Any, BinaryIO

_LENGTH = struct.Struct("<Q")


def send(stream: BinaryIO, message: Any) -> None:
    data = pickle.dumps(message)
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """The next message; ``EOFError`` when the other side has gone."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    return pickle.loads(stream.read(_LENGTH.unpack(head)[0]))


def main() -> None:
    """Answers (group, target, key, record) with a kernel or with the error."""
    # Ctrl-C reaches the whole group of processes; the caller deals with it and ends this one
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not mix with the answers
    from armlet.errors import ArmletError

    from .build import build

    while True:
        try:
            group, target, key, record = receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            send(answers, build(group, target, key, record))
        except ArmletError as error:
            send(answers, error)


if __name__ == "__main__":
    main()
