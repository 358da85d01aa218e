"""Pages of ``docs/reference`` made from the code: ``python -m armlet.cli.reference DIR``.

A test compares the pages in the repository with what this makes.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer.main

from armlet import settings
from armlet.errors import ArmletError

_MADE = "<!-- made by `python -m armlet.cli.reference docs/reference`; edit the code instead -->\n"


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    def line(cells: tuple[str, ...]) -> str:
        return f"| {' | '.join(c.replace('|', chr(92) + '|') for c in cells)} |\n"

    return line(columns) + line(tuple("---" for _ in columns)) + "".join(line(r) for r in rows)


def settings_page() -> str:
    """Every environment variable."""
    rows = [(f"`{s.name}`", s.default_text, s.help) for s in settings.ALL]
    return (
        f"{_MADE}# Settings\n\nEnvironment variables, read whenever they are needed. "
        "`armlet doctor --settings` prints them with their values.\n\n"
        + _table(("variable", "default", "meaning"), rows)
    )


def _classes(above: type[ArmletError] = ArmletError) -> Iterator[type[ArmletError]]:
    for found in above.__subclasses__():
        yield found
        yield from _classes(found)


def errors_page() -> str:
    """Every error with its stable id."""
    parts = [
        _MADE,
        "# Errors\n\nEvery error is a subclass of `armlet.ArmletError` and says what is wrong, "
        "where, and the way out. On the command line it is one message on standard error, "
        "`error ID: …`, and exit status 2. Ids do not change between versions.\n",
    ]
    for error in sorted(_classes(), key=lambda e: e.id):
        parts.append(f"\n## {error.id} {error.__name__}\n\n{inspect.getdoc(error)}\n")
    return "".join(parts)


def _option(parameter: Any) -> tuple[str, str]:
    """An option or argument as it is typed, and its meaning."""
    names = ", ".join(parameter.opts)
    if parameter.param_type_name == "argument":
        text = f"`{parameter.metavar or parameter.name.upper()}`"
    elif parameter.is_flag:
        text = f"`{names}`"
    else:
        text = f"`{names} {parameter.metavar}`"
    default = parameter.default
    shown = f"{default:.6g}" if isinstance(default, float) else str(default)
    known = not callable(default) and default not in (None, "", False) and not parameter.required
    return text, (parameter.help or "") + (f" Default: {shown}." if known else "")


def _commands(path: str, group: Any) -> Iterator[tuple[str, Any]]:
    """Every command below ``group``, with what one types."""
    for name, command in group.commands.items():
        yield f"{path} {name}", command
        if hasattr(command, "commands"):
            yield from _commands(f"{path} {name}", command)


def cli_page() -> str:
    """Every verb with its options."""
    from armlet.cli import app

    group: Any = typer.main.get_command(app)
    parts = [
        _MADE,
        f"# Command line\n\n{group.help}\n\nExit status: 0 done, 1 the answer is no, 2 an error, "
        "130 interrupted. Errors and progress go to standard error, results to standard output.\n",
    ]
    for name, command in _commands("armlet", group):
        rows = [_option(p) for p in command.params if "--help" not in p.opts]
        parts.append(f"\n## {name}\n\n{inspect.cleandoc(command.help)}\n")
        if rows:
            parts.append("\n" + _table(("", "meaning"), rows))
    return "".join(parts)


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "errors.md": errors_page,
    "cli.md": cli_page,
}

if __name__ == "__main__":
    for page, make in PAGES.items():
        (Path(sys.argv[1]) / page).write_text(make(), encoding="utf-8")
