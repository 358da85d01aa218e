"""The command line: one file a verb; ``main`` runs one and tells errors in a sentence.

A verb is a function in a file of its own, named in ``VERBS``. Its heavy imports are inside,
so that ``armlet --help`` answers at once. Exit status: 0 done, 1 the answer is no, 2 an error.
"""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

import armlet
from armlet import settings
from armlet.errors import ArmletError, InternalError, OutputError, SettingError

from .bench import bench
from .check import check
from .compile import compile
from .device import app as device_app
from .diff import diff
from .doctor import doctor
from .inspect import inspect
from .profile import profile
from .quantize import quantize
from .run import run
from .selftest import selftest
from .targets import targets
from .tune import app as tune_app

VERBS = (check, compile, quantize, run, bench, profile, diff, inspect, selftest, targets, doctor)

INTERRUPTED = 130
TERMINATED = 143

# the base of all errors about arguments, wherever this version of typer keeps click
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="armlet",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in VERBS:
    app.command()(verb)
app.add_typer(tune_app)
app.add_typer(device_app)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"armlet {armlet.__version__}")
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def top(
    context: typer.Context,
    version: Annotated[
        bool | None,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = None,
) -> None:
    """Compiles a trained model into one shared library that needs nothing but libc."""
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


def _terminate(*_: object) -> NoReturn:
    """So that temporary files are removed when a time limit ends the process."""
    raise SystemExit(TERMINATED)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit status."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    try:
        for setting in settings.ALL:
            _ = setting.value  # an impossible one is told before anything is done
        status = app(arguments, prog_name="armlet", standalone_mode=False)
        sys.stdout.flush()
        if status == INTERRUPTED:  # some versions of typer return it
            raise KeyboardInterrupt
        return status or 0
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stdout = None  # type: ignore[assignment]  # nobody reads it any more
        return 0
    except Exception as error:
        _tell(error)
        return 2


def _tell(error: Exception) -> None:
    """One message on standard error; the traceback only where ``ARMLET_DEBUG`` asks for it."""
    known = _known(error)
    try:
        if settings.DEBUG.value >= 4:
            traceback.print_exception(error)
    except SettingError:
        pass
    print(f"error {known.id}: {known}", file=sys.stderr)


def _known(error: Exception) -> ArmletError:
    if isinstance(error, ArmletError):
        return error
    if isinstance(error, _UsageError):
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "armlet"
        message = error.format_message()  # type: ignore[attr-defined]
        return SettingError(message.rstrip("."), way_out=f"{command} --help")
    if isinstance(error, MemoryError):
        return OutputError("out of memory", way_out="free some, or give a smaller model or shape")
    if isinstance(error, OSError) and error.filename is not None:
        return OutputError(error.strerror or str(error), where=str(error.filename))
    return InternalError(
        f"a bug in armlet: {type(error).__name__}: {error}",
        way_out="report it with what ARMLET_DEBUG=4 prints",
    )
