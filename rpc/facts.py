"""What a device's agent tells of it, in armlet's terms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from armlet.compiler.link.elf import MACHINES, Elf
from armlet.compiler.link.format import FormatError
from armlet.errors import ArtifactError, DeviceProtocolError
from armlet.state import Cluster
from armlet.targets import FAMILIES, Target, described


def target_of(facts: Mapping[str, Any]) -> Target:
    """The most capable target that the device satisfies, for its fastest cores."""
    try:
        clusters = facts.get("clusters") or [{}]
        part = _part(clusters[-1]["part"]) if "part" in clusters[-1] else None
        flags = frozenset(facts["features"])
        return described(facts["system"], facts["architecture"], flags, part)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DeviceProtocolError("the device does not tell what it is") from error


def _part(text: str) -> tuple[int, ...]:
    """``"41:d05"`` -> (0x41, 0xD05)."""
    return tuple(int(number, 16) for number in text.split(":"))


def clusters_of(facts: Mapping[str, Any]) -> list[Cluster]:
    """The slowest first."""
    try:
        return [
            Cluster(tuple(c["cpus"]), c.get("khz_max", 0) / 1000)
            for c in facts.get("clusters") or ()
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise DeviceProtocolError("the device does not tell its cores") from error


def check_architecture(path: Path, data: bytes, facts: Mapping[str, Any], where: str) -> None:
    """``ArtifactError`` unless the file is a library for such a machine."""
    known = [f for f in FAMILIES.values() if f.architecture == facts.get("architecture")]
    try:
        found = Elf(memoryview(data)).machine
    except FormatError as problem:
        raise ArtifactError(
            f"the file is not an artifact that can be used: {problem}",
            where=str(path),
            way_out=f"armlet compile MODEL --device {where} -o M.so",
        ) from problem
    if known and found != MACHINES[known[0].machine]:
        made_for = next((m for m, number in MACHINES.items() if number == found), "another machine")
        raise ArtifactError(
            f"it is made for {made_for}, and {where} is {known[0].machine}",
            where=str(path),
            way_out=f"armlet compile MODEL --device {where} -o M.so",
        )
