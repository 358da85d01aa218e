"""Programs that play ``adb`` and ``ssh``: the phone and the board are folders of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

ADB = """#!/bin/sh
[ "$1 $2" = "-s 0A1B" ] || { echo "adb: device '$2' not found" >&2; exit 1; }
here() { printf %s "$1" | sed "s#/data/local/tmp#$FAKE_ROOT#g"; }
case "$3" in
shell) exec sh -c "$(here "$4")" ;;
push) exec cp "$4" "$(here "$5")" ;;
forward) [ "$4" = --remove ] || echo "${5#tcp:}" ;;
esac
"""
SSH = f"""#!{sys.executable}
import os, socket, sys, threading
arguments, to = sys.argv[1:], ""
while arguments[0].startswith("-"):
    to = arguments[1] if arguments[0] == "-W" else to
    arguments = arguments[2:]
if arguments[0] != "pi@board":
    sys.exit("ssh: Could not resolve hostname " + arguments[0])
if not to:
    os.chdir(os.environ["FAKE_ROOT"])
    os.execvp("sh", ["sh", "-c", arguments[1]])
host, port = to.split(":")
try:
    remote = socket.create_connection((host, int(port)))
except OSError:
    sys.exit("channel 0: open failed: connect failed: Connection refused")
def copy(read, write, end):
    while data := read(1 << 16):
        write(data)
    end()
threading.Thread(
    target=copy, daemon=True,
    args=(lambda n: os.read(0, n), remote.sendall, lambda: remote.shutdown(socket.SHUT_WR)),
).start()
copy(remote.recv, lambda data: os.write(1, data), lambda: os._exit(0))
"""


@contextlib.contextmanager
def installed(folder: Path, root: Path) -> Iterator[dict[str, str]]:
    """The environment in which the programs are found; ends the agents that were started."""
    folder.mkdir()
    root.mkdir()
    for name, text in (("adb", ADB), ("ssh", SSH)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    try:
        yield {"PATH": path, "FAKE_ROOT": str(root)}
    finally:
        for pid in root.rglob("pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid.read_text()), signal.SIGTERM)
