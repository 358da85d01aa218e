"""What the executor is told: tasks in order, and where every tensor lies."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from armlet.compiler.ir import TensorType, Value
from armlet.compiler.lower.kernel import Kernel

#: every buffer of the arena and every constant begins at a multiple of this
ALIGNMENT = 64


class Space(enum.IntEnum):
    """Where a pointer points; the values are part of the artifact's format."""

    ARENA = 0
    CONSTANT = 1
    INPUT = 2
    OUTPUT = 3


@dataclass(frozen=True)
class Location:
    """``offset`` is in bytes; ``index`` says which input or output (0 elsewhere)."""

    space: Space
    offset: int = 0
    index: int = 0


@dataclass(frozen=True)
class Tensor:
    """A named tensor of the interface."""

    name: str
    type: TensorType


@dataclass(frozen=True)
class Task:
    """One kernel call. The last argument is the output; ``source`` is the layer's name."""

    kernel: int
    arguments: tuple[Location, ...]
    #: name of the value that the task computes, and its type
    value: str
    type: TensorType
    source: str


@dataclass(frozen=True)
class Version:
    """A kernel that takes another's place on a better processor."""

    #: in the plan's kernels
    kernel: int
    better: Kernel
    #: the target that it is for, and what its processors have besides
    target: str
    features: tuple[str, ...]
    #: share of the model's time that it is expected to save there
    gain: float


@dataclass(frozen=True)
class Program:
    """What an accelerator does in a region, as its back end made it."""

    back_end: str
    name: str
    #: the C name of the shim's ``armlet_npu_api``, and the files that define it
    api: str
    shim: tuple[Path, ...]
    blob: bytes


@dataclass(frozen=True)
class RegionTasks:
    """Tasks that an accelerator may do in one step, with what goes in and comes out."""

    program: Program
    first_task: int
    task_count: int
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


@dataclass(frozen=True)
class Region:
    """The same, where all of it lies. No other value's bytes are among the outputs' meanwhile."""

    program: Program
    first_task: int
    task_count: int
    inputs: tuple[Location, ...]
    outputs: tuple[Location, ...]


@dataclass(frozen=True)
class Plan:
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    kernels: tuple[Kernel, ...]
    tasks: tuple[Task, ...]
    arena_bytes: int
    #: largest sum of bytes that matter at the same time, or largest buffer
    arena_lower_bound: int
    #: (offset in the constant section, data)
    constants: tuple[tuple[int, np.ndarray], ...]
    constant_bytes: int
    #: bytes of the arena that matter during each task
    live_bytes: tuple[int, ...] = ()
    #: of several versions of a kernel the last that a processor can run is used
    versions: tuple[Version, ...] = ()
    regions: tuple[Region, ...] = ()

    @property
    def shims(self) -> tuple[Path, ...]:
        """The C files of every shim that a region is run by."""
        return tuple(dict.fromkeys(path for r in self.regions for path in r.program.shim))

    @property
    def code(self) -> tuple[Kernel, ...]:
        """Every kernel of the artifact: the plan's own, then the versions'."""
        return (*self.kernels, *(v.better for v in self.versions))
