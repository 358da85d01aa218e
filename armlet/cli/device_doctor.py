"""What ``armlet device doctor`` examines: each step on the way to a device, in order."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from . import show
from .doctor import Finding, tiny

if TYPE_CHECKING:
    from armlet.rpc.device import Device
    from armlet.rpc.registry import Entry

#: bytes of a file to time
_FILE = 8 << 20


def examinations(name: str) -> dict[str, Callable[[], Finding]]:
    from armlet.rpc.registry import entry

    found = _Examined(entry(name))
    steps: dict[str, Callable[[], Finding]] = {"way": found.way}
    steps |= {"agent": found.agent, "clocks": found.clocks, "upload": found.upload}
    return steps | {"model": found.model}


class _Examined:
    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    @cached_property
    def _device(self) -> Device:
        from armlet.rpc.device import Device

        return Device(self._entry)

    def way(self) -> Finding:
        """adb or ssh and a shell there; a network has nothing of the kind."""
        from armlet.rpc.route import Shell, route_of

        route = route_of(self._entry)
        text = self._entry.how
        if isinstance(route, Shell):
            text += f": {route.sh('uname -sm').strip()}"
        return Finding("way", "ok", text)

    def agent(self) -> Finding:
        import armlet
        from armlet.rpc.deploy import log_of

        try:
            facts = self._device.facts
        except armlet.ArmletError as error:
            said = log_of(self._entry)
            text = f"{error.id}: {error.what}" + (f"; it said: {said}" if said else "")
            return Finding("agent", "bad", text, error.way_out)
        version = facts.get("agent")
        text = f"version {version}, {self._device.target}"
        if version != armlet.__version__:
            way_out = f"armlet device deploy-agent {self._entry.name}"
            return Finding("agent", "note", f"{text}; armlet is {armlet.__version__}", way_out)
        return Finding("agent", "ok", text)

    def clocks(self) -> Finding:
        state, facts = self._device.state(), self._device.facts
        governors = {c["governor"] for c in facts.get("clusters", ()) if "governor" in c}
        text = f"governor {', '.join(sorted(governors)) or 'not told'}, clocks "
        text += "/".join(f"{m:.0f}" for m in state.mhz if m) or "not told"
        if governors - {"performance"}:
            return Finding("clocks", "note", f"{text}: times vary with the clock")
        return Finding("clocks", "ok", text)

    def upload(self) -> Finding:
        import hashlib
        import os

        data = os.urandom(_FILE)
        hash, session = hashlib.sha256(data).digest(), self._device.session
        begun = time.perf_counter()
        session.put(hash, data)
        taken = time.perf_counter() - begun
        session.remove(hash)
        return Finding("upload", "ok", f"{show.size(_FILE / taken)} a second")

    def model(self) -> Finding:
        from armlet import api

        made = api.compile(tiny(), self._device.target)
        with self._device.open(made.path, threads=1) as opened:
            report = opened.selftest()
            opened.run(opened.example_inputs())
            taken = show.milliseconds(opened.run_seconds)
        if not report.passed:
            return Finding("model", "bad", "a tiny model's self-test fails")
        return Finding("model", "ok", f"a tiny model compiles and runs there, in {taken}")
