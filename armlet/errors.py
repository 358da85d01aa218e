"""The error tree. Every message says what is wrong, where, and the way out.

``id`` is stable: scripts may rely on it and ``docs/reference/errors.md`` lists it. This
module imports nothing of ours, so that every room of the house may raise its errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar


class ArmletError(Exception):
    """Something that a user can be told in a sentence or two."""

    id: ClassVar[str] = "AL000"

    def __init__(self, what: str, *, where: str = "", way_out: str = "") -> None:
        self.what, self.where, self.way_out = what, where, way_out
        super().__init__(what)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  way out: {self.way_out}" if self.way_out else text


class ModelFileError(ArmletError):
    """The model file is missing, truncated, or not a model."""

    id = "AL101"


class UnsupportedModelError(ArmletError):
    """The model uses something that armlet does not support; every problem is listed.

    ``problems`` are ``frontends.report.Problem`` values; the message lists them.
    """

    id = "AL102"

    def __init__(
        self, what: str, *, problems: Sequence[Any] = (), where: str = "", way_out: str = ""
    ) -> None:
        self.problems = tuple(problems)
        super().__init__(what, where=where, way_out=way_out)


class ModelShapeError(ArmletError):
    """A shape is free, contradictory or impossible."""

    id = "AL103"


class ExternalDataError(ArmletError):
    """Weights kept beside the model are missing, truncated or outside its folder."""

    id = "AL104"


class PartitionError(ArmletError):
    """Calls stay on the CPU though an accelerator was to do all of them; every reason is listed."""

    id = "AL105"


class InputError(ArmletError):
    """Data given to a model has the wrong name, dtype or shape."""

    id = "AL201"


class TargetError(ArmletError):
    """The target is unknown, or cannot be compiled for."""

    id = "AL301"


class DeviceError(ArmletError):
    """A device cannot do what is asked of it; the classes below say why."""

    id = "AL350"


class UnknownDeviceError(DeviceError):
    """No device of this name is known, or what is known of it makes no sense."""

    id = "AL351"


class DeviceConnectionError(DeviceError):
    """The device cannot be reached, or the connection to it broke."""

    id = "AL352"


class DeviceKeyError(DeviceError):
    """This machine and the device have different keys, or only one of them has one."""

    id = "AL353"


class DeviceProtocolError(DeviceError):
    """What answers is no agent, one of another version, or says what makes no sense."""

    id = "AL354"


class DeviceTimeoutError(DeviceError):
    """It took longer than it may; what ran on the device was stopped."""

    id = "AL355"


class DeviceCrashError(DeviceError):
    """What ran on the device was ended by a signal; the agent goes on."""

    id = "AL356"


class DeviceMemoryError(DeviceError):
    """What ran on the device needed more memory than it may take."""

    id = "AL357"


class DeviceRefusedError(DeviceError):
    """The agent does not allow what is asked."""

    id = "AL358"


class DeviceBusyError(DeviceError):
    """Somebody else uses the device."""

    id = "AL359"


class NotOnDeviceError(DeviceError):
    """A file, model or function is not on the device, or no more."""

    id = "AL360"


class OutputError(ArmletError):
    """A file could not be written; nothing is left half-written."""

    id = "AL401"


class SizeError(ArmletError):
    """The artifact would be larger than it may."""

    id = "AL402"


class ArtifactError(ArmletError):
    """The file is not an armlet artifact, or of a format that this version cannot open."""

    id = "AL501"


class CpuError(ArmletError):
    """The artifact needs CPU features that this machine lacks."""

    id = "AL502"


class ExecutionError(ArmletError):
    """The artifact reported an error while it ran."""

    id = "AL503"


class AcceleratorError(ArmletError):
    """A region of the model cannot run on its accelerator, which was required."""

    id = "AL504"


class VerificationError(ArmletError):
    """The compiled model's answer differs from the source model's."""

    id = "AL601"


class RangeError(ArmletError):
    """A layer leaves the range of the floating-point type that it was to be computed in."""

    id = "AL602"


class QuantizationError(ArmletError):
    """The model cannot be quantised, or not written where it was to be."""

    id = "AL603"


class ToolchainError(ArmletError):
    """The C compiler or linker failed."""

    id = "AL701"


class MissingPackageError(ArmletError):
    """A package that is not always installed is needed for this."""

    id = "AL702"


class SettingError(ArmletError):
    """An ``ARMLET_*`` setting or a command-line option has an impossible value."""

    id = "AL801"


class InternalError(ArmletError):
    """A bug in armlet."""

    id = "AL901"
