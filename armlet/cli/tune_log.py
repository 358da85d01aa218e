"""``armlet tune log``: looking at files of tuning records, joining and cleaning them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import show
from .options import Json

if TYPE_CHECKING:
    from armlet.compiler.records import Record, Records

Files = Annotated[
    list[Path] | None,
    typer.Argument(help="Files of records; all of this user if none is given.", metavar="[FILE…]"),
]

log = typer.Typer(
    name="log", help="Shows, merges, prunes and compares files of tuning records.",
    no_args_is_help=True,
)  # fmt: skip


def _read(paths: Sequence[Path]) -> Records:
    from armlet.compiler.records import Records, read
    from armlet.errors import InputError

    for path in paths:
        if not path.is_file():
            raise InputError("there is no such file of records", where=str(path))
    return Records(record for path in paths for record in read(path))


def _own() -> list[Path]:
    from armlet.settings import RECORDS

    return sorted(RECORDS.value.glob("*.jsonl"))


def _places(records: Records) -> dict[tuple[str, str], list[Record]]:
    found: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        found.setdefault(record.place, []).append(record)
    return found


def _summary(known: Sequence[Record]) -> dict[str, Any]:
    """One workload of one target."""
    serving = [r for r in known if r.serves]
    best = min(serving, key=lambda r: r.seconds or 0.0, default=None)
    verdicts = [r for r in known if r.default is not None]
    default = max(verdicts, key=lambda r: r.date).default if verdicts else None
    return {
        "target": known[0].target,
        "workload": known[0].workload,
        "template": best.template if best else "",
        "config": dict(best.config) if best else {},
        "seconds": best.seconds if best else None,
        "default_seconds": best.default if best else default,
        "trials": len(known),
        "failures": sum(bool(r.failure) for r in known),
        "modelled": next((r.modelled for r in known if r.modelled), ""),
        "date": max(r.date for r in known),
    }


def _us(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1e6:.1f}"


@log.command("show")
def show_records(files: Files = None, json: Json = False) -> None:
    """Shows what is known of each workload: the tuned kernel, its time and the default's."""
    found = [_summary(known) for known in _places(_read(files or _own())).values()]
    if json:
        show.as_json(found)
        return
    show.table(
        ["target", "workload", ">tuned us", ">default us", "template", "config", ">trials",
         ">failed", "measured, or by what modelled"],
        [
            (
                r["target"], r["workload"], _us(r["seconds"]), _us(r["default_seconds"]),
                r["template"] or "default", _config(r["config"]), r["trials"], r["failures"],
                r["modelled"] or r["date"],
            )
            for r in found
        ],
    )  # fmt: skip


def _config(config: dict[str, int]) -> str:
    return " ".join(f"{k}={v}" for k, v in config.items())


@log.command()
def merge(
    output: Annotated[Path, typer.Argument(help="The file to write.", metavar="OUT")],
    files: Annotated[list[Path], typer.Argument(help="Files of records.", metavar="FILE…")],
) -> None:
    """Writes the records of several files to one, each config's latest only."""
    merged = _read(files)
    _write(output, merged)
    print(f"{output}: {len(merged)} records of {len(files)} files")


@log.command()
def prune(
    file: Annotated[Path, typer.Argument(help="A file of records.", metavar="FILE")],
    best: Annotated[
        bool, typer.Option("--best", help="Keep only what won, and the defaults' times.")
    ] = False,
) -> None:
    """Removes what serves no more: damaged lines, outdated templates, repeated configs."""
    from armlet.schedules.cpu import TEMPLATES

    before = sum(1 for line in file.read_bytes().splitlines() if line.strip())
    versions = {t.name: t.version for t in TEMPLATES}
    kept = [
        r
        for r in _read([file])
        if versions.get(r.template) == r.version
        and not (best and (r.default is None or r.rejected))
    ]
    _write(file, kept)
    print(f"{file}: {len(kept)} of {before} lines kept")


def _write(path: Path, records: Iterable[Record]) -> None:
    from armlet.compiler.link.publish import writing

    with writing(path) as file:
        file.writelines(r.line() for r in records)


@log.command()
def diff(
    first: Annotated[Path, typer.Argument(help="A file of records.", metavar="A")],
    second: Annotated[Path, typer.Argument(help="Another.", metavar="B")],
    json: Json = False,
) -> None:
    """Compares the best times of two files, workload by workload."""
    sides = [
        {place: _summary(known) for place, known in _places(_read([path])).items()}
        for path in (first, second)
    ]
    rows: list[dict[str, Any]] = []
    for place in dict.fromkeys([*sides[0], *sides[1]]):
        a, b = ((s[place]["seconds"] or s[place]["default_seconds"]) if place in s else None
                for s in sides)  # fmt: skip
        ratio = b / a if a and b else None
        rows.append({"target": place[0], "workload": place[1], "a": a, "b": b, "ratio": ratio})
    if json:
        show.as_json(rows)
        return
    show.table(
        ["target", "workload", ">A us", ">B us", ">B / A"],
        [
            (r["target"], r["workload"], _us(r["a"]), _us(r["b"]),
             "" if r["ratio"] is None else f"{r['ratio']:.3f}")
            for r in rows
        ],
    )  # fmt: skip
