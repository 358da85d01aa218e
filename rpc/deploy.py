"""Bringing the agent to a phone or board, with a key of its own, and starting it there."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

from armlet.compiler.link.agent import agent_program
from armlet.errors import DeviceError, SettingError, TargetError
from armlet.settings import DEVICES
from armlet.targets import FAMILIES, Target

from . import registry
from .channel import write_key
from .registry import Entry
from .route import Shell, route_of

#: by what ``uname -m`` says
_ARCHITECTURES = {
    "x86_64": "x86_64", "aarch64": "arm64", "armv8l": "armv7", "armv7l": "armv7",
    "riscv64": "riscv64",
}  # fmt: skip
#: boards are reached by adb, too, and phones by ssh
_WHAT = "uname -m; if [ -e /system/bin/linker ]; then echo android; else echo linux; fi"
_AGENT, _KEY = "armlet-agent", "key"


def shell_of(entry: Entry) -> Shell:
    route = route_of(entry)
    if not isinstance(route, Shell):
        raise SettingError(
            f"device {entry.name!r} is reached by {entry.kind}, which brings no files there",
            way_out="add it with --adb or --ssh; or run `armlet device serve` on it",
        )
    return route


def family_of(shell: Shell) -> Target:
    """What an agent for the device is compiled for."""
    machine, system = shell.sh(_WHAT).split()
    name = f"{system}-{_ARCHITECTURES.get(machine, machine)}"
    if name not in FAMILIES:
        raise TargetError(f"there is no agent for {system} on {machine}", where=machine)
    return FAMILIES[name]


def deploy(name: str) -> Target:
    """Builds the agent for a device, brings it there and starts it, in place of one that runs.

    It listens on the device's loopback and demands a key, as every program there could reach it.
    """
    entry = registry.entry(name)
    shell = shell_of(entry)
    family = family_of(shell)
    program = agent_program(family)
    key = _key_of(entry)
    folder = shlex.quote(shell.folder)
    shell.sh(f"mkdir -p {folder} && chmod 700 {folder} && cd {folder} && {_stop()}; rm -f {_AGENT}")
    shell.push(program, _AGENT)
    shell.push(key, _KEY)
    # `sh -c` ends at once: the agent outlives the connection, and nothing keeps that open
    options = f"--listen 127.0.0.1:{entry.port} --key {_KEY} --folder files"
    shell.sh(
        f"cd {folder} && chmod 700 {_AGENT} && chmod 600 {_KEY} && "
        f"(nohup ./{_AGENT} {options} >agent.log 2>&1 </dev/null & echo $! >pid)"
    )
    registry.add(dataclasses.replace(entry, key=str(key)))
    return family


def _stop() -> str:
    """Ends the agent whose process we have noted, if it is one still."""
    running = f"grep -q {_AGENT} /proc/$(cat pid)/cmdline"
    return f"if [ -e pid ] && {running} 2>/dev/null; then kill $(cat pid); sleep 0.2; fi"


def _key_of(entry: Entry) -> Path:
    """The device's key here; made now if it has none."""
    if entry.key:
        return Path(entry.key)
    path = DEVICES.value.parent / "keys" / entry.name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_key(path)
    return path


def log_of(entry: Entry) -> str:
    """The last that the agent has said; "" if that cannot be read."""
    try:
        shell = shell_of(entry)
        return shell.sh(f"tail -n 1 {shlex.quote(shell.folder)}/agent.log").strip()
    except (DeviceError, SettingError):
        return ""
