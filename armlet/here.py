"""Where models run: this machine, with the interface of a device (``rpc.device.Device``)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from armlet import artifact
from armlet.model import OpenModel
from armlet.state import Cluster, State, clusters_here, state_here


class Place(Protocol):
    """What opens models."""

    @property
    def name(self) -> str: ...

    @property
    def clusters(self) -> list[Cluster]:
        """The slowest first."""

    def state(self) -> State: ...

    def open(
        self, path: Path, /, *, threads: int = 0, cpus: Sequence[int] = ()
    ) -> contextlib.AbstractContextManager[OpenModel]:
        """The model, whose threads have those CPUs, one each."""


class Here:
    name = "this machine"

    @property
    def clusters(self) -> list[Cluster]:
        return clusters_here()

    def state(self) -> State:
        return state_here()

    @contextlib.contextmanager
    def open(
        self, path: Path, /, *, threads: int = 0, cpus: Sequence[int] = (), **options: Any
    ) -> Iterator[OpenModel]:
        """The calling thread, which works too, is pinned as long as the model is open.

        ``options`` are those of ``artifact.open``.
        """
        before = os.sched_getaffinity(0)
        with artifact.open(path, threads=threads, cpus=cpus, **options) as model:
            try:
                if cpus:
                    os.sched_setaffinity(0, cpus[:1])
                yield model
            finally:
                os.sched_setaffinity(0, before)
