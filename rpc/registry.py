"""Devices by name, in one file of the user's: how each is reached, and with which key."""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from armlet.compiler.link.publish import writing
from armlet.errors import SettingError, UnknownDeviceError
from armlet.settings import DEVICES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: what a device is reached by, and what that needs
KINDS = {
    "adb": "SERIAL",
    "ssh": "[USER@]HOST",
    "tcp": "HOST:PORT",
    "tracker": "HOST:PORT/KEY",
    "tvm": "HOST:PORT[/KEY]",
}
#: where agents listen unless they are told otherwise
PORT = 9090
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_HEAD = "# made by `armlet device add`\n"


@dataclass(frozen=True)
class Entry:
    name: str
    #: one of ``KINDS``
    kind: str
    place: str
    #: of the agent on the device, for adb and ssh
    port: int = PORT
    #: the key's file, "" for none
    key: str = ""

    @property
    def how(self) -> str:
        return f"{self.kind} {self.place}"


def address(text: str) -> tuple[str, int]:
    """HOST and PORT of ``HOST:PORT``."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise SettingError(
            f"{text!r} is no address", way_out="write HOST:PORT, such as 192.168.1.4:9090"
        )
    return host.strip("[]"), int(port)


def entry_of(name: str, fields: Mapping[str, Any]) -> Entry:
    """``UnknownDeviceError`` if they make no sense."""

    def refuse(what: str) -> UnknownDeviceError:
        way_out = f"armlet device remove {name}, and add it again"
        return UnknownDeviceError(what, where=f"device {name!r}", way_out=way_out)

    if not _NAME.fullmatch(name):
        raise refuse("a name is letters, digits, '.', '-' and '_'")
    kinds = [kind for kind in KINDS if kind in fields]
    if len(kinds) != 1:
        raise refuse(f"one way to reach it is needed, out of {', '.join(KINDS)}")
    (kind,) = kinds
    place, port, key = fields[kind], fields.get("port", PORT), fields.get("key", "")
    if set(fields) - {kind, "port", "key"} or not (
        isinstance(place, str) and isinstance(port, int) and isinstance(key, str)
    ):
        raise refuse(f"{dict(fields)} is not understood")
    # these go to other programs as arguments
    if not place or place.startswith("-") or not place.isprintable():
        raise refuse(f"{place!r} is no {KINDS[kind]}")
    if kind == "tcp":
        address(place)
    if kind == "tvm":
        address(place.partition("/")[0])
    if kind == "tracker":
        address(place.partition("/")[0])
        if not place.partition("/")[2]:
            raise refuse(f"{place!r} has no key: it is written {KINDS[kind]}")
    return Entry(name, kind, place, port, key)


def entries() -> dict[str, Entry]:
    """Every device that is known."""
    path = DEVICES.value
    try:
        found = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingError(
            f"the devices cannot be read: {reason}", where=str(path), way_out="mend or remove it"
        ) from error
    return {
        name: entry_of(name, fields if isinstance(fields, dict) else {})
        for name, fields in found.items()
    }


def entry(name: str) -> Entry:
    known = entries()
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(known) or 'none'}"
    raise UnknownDeviceError(
        f"no device is called {name!r}", way_out=f"{hint}; armlet device add {name} …"
    )


def add(new: Entry) -> None:
    """Adds a device, or changes it."""
    with _alone():
        _write({**entries(), new.name: new})


def remove(name: str) -> None:
    with _alone():
        known = entries()
        del known[entry(name).name]
        _write(known)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """No other process changes the file in this block."""
    path = DEVICES.value
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        what = f"the devices cannot be written: {error.strerror}"
        raise SettingError(what, where=str(path)) from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _write(known: Mapping[str, Entry]) -> None:
    text = _HEAD
    for name in sorted(known):
        e = known[name]
        # JSON's strings and numbers are TOML's, too
        text += f"\n[{json.dumps(name)}]\n{e.kind} = {json.dumps(e.place)}\n"
        text += f"port = {e.port}\n" if e.port != PORT else ""
        text += f"key = {json.dumps(e.key)}\n" if e.key else ""
    with writing(DEVICES.value) as file:
        file.write(text.encode())
