"""A device: files go there, models run there, and it tells how it does.

with armlet.device("pixel") as phone, phone.open("m.so", threads=4) as model:
    scores = model.run({"image": pixels})["scores"]
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from armlet.errors import ArtifactError, DeviceConnectionError, DeviceTimeoutError
from armlet.model import OpenModel
from armlet.state import Cluster, State
from armlet.targets import Target

from . import facts
from .channel import reach, read_key
from .registry import Entry, entry
from .remote import RemoteModel
from .route import route_of
from .session import DEADLINE, Session

#: connections that an upload may lose without coming further
RETRIES = 3
#: called with the bytes present and all of them
Progress = Callable[[int, int], None]


def session_with(entry: Entry, *, wait: float = 0.0, patience: float = 5.0) -> Session:
    """A new session with a device's agent."""
    key = read_key(Path(entry.key)) if entry.key else None
    route = route_of(entry)
    channel = reach(route.dial, key, where=entry.name, patience=patience, complaint=route.complaint)
    return Session(channel, wait=wait)


def device(name: str | Entry, *, wait: float = 0.0) -> Device:
    """The device that ``armlet device add`` was told of; ``wait``: seconds, for others to leave."""
    return Device(name if isinstance(name, Entry) else entry(name), wait=wait)


class Device:
    """A device that an agent serves. Made by ``device``."""

    def __init__(self, entry: Entry, *, wait: float = 0.0, patience: float = 5.0) -> None:
        self.entry, self.name = entry, entry.name
        self._wait = wait
        self.session = session_with(entry, wait=wait, patience=patience)

    # ---- what it is

    @property
    def facts(self) -> dict[str, Any]:
        """What the agent tells: docs/reference/device-protocol.md."""
        return self.session.facts

    @property
    def target(self) -> Target:
        """The best target for the device's fastest cores."""
        return facts.target_of(self.facts)

    @property
    def clusters(self) -> list[Cluster]:
        return facts.clusters_of(self.facts)

    def state(self) -> State:
        return self.session.state()

    # ---- models

    def upload(
        self,
        artifact: str | os.PathLike[str] | OpenModel,
        progress: Progress = lambda present, total: None,
    ) -> bytes:
        """Brings an artifact to the device, unless it is there; returns its SHA-256.

        When the connection breaks, it goes on from where it was over a new one.
        """
        path, data = self._read(artifact)
        facts.check_architecture(path, data, self.facts, self.name)
        hash, present, tries = hashlib.sha256(data).digest(), 0, 0
        while True:
            try:
                (start,) = self.session.have([hash])
                if start is None:
                    return hash
                tries, present = (0, start) if start > present else (tries, present)
                self.session.put(hash, data, start, lambda sent: progress(sent, len(data)))
                return hash
            except (DeviceConnectionError, DeviceTimeoutError):
                tries += 1
                if tries > RETRIES:
                    raise
                self.session.close()
                self.session = session_with(self.entry, wait=self._wait)

    @staticmethod
    def _read(artifact: str | os.PathLike[str] | OpenModel) -> tuple[Path, bytes]:
        path = artifact.path if isinstance(artifact, OpenModel) else Path(artifact)
        try:
            return path, path.read_bytes()
        except OSError as error:
            reason = error.strerror or str(error)
            raise ArtifactError(f"the file cannot be read: {reason}", where=str(path)) from error

    def open(
        self,
        artifact: str | os.PathLike[str] | OpenModel,
        *,
        threads: int = 0,
        cpus: Sequence[int] = (),
        spin_us: int = 0,
        memory_limit: int = 0,
        deadline: float = DEADLINE,
        progress: Progress = lambda present, total: None,
    ) -> RemoteModel:
        """Uploads an artifact, if needed, and opens it there; see ``artifact.open``.

        ``memory_limit``: bytes that the model may take, 0 for no limit of its own. ``deadline``:
        seconds that opening and each run may take.
        """
        hash = self.upload(artifact, progress)
        opened = self.session.open(
            hash, threads=threads, spin_us=spin_us, memory_limit=memory_limit, cpus=cpus,
            seconds=deadline,
        )  # fmt: skip
        path = artifact.path if isinstance(artifact, OpenModel) else Path(artifact)
        return RemoteModel(self.session, opened, path, deadline)

    # ---- the end

    def close(self) -> None:
        """Ends the session; models that are open there are closed."""
        self.session.close()

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<device {self.name}, {self.entry.how}>"
