"""Running the command line on bad input, and what every refusal promises."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from armlet.cli import main

ERROR = re.compile(r"^error (AL\d{3}): ", re.MULTILINE)


class Refusals:
    """``folder`` is where models and outputs lie."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys

    def run(self, *arguments: object) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        self._capsys.readouterr()
        status = main([str(a) for a in arguments])
        return (status, *self._capsys.readouterr())

    def refused(self, id: str, mentions: Sequence[object], *arguments: object) -> str:
        """Runs a command that must fail with one error; returns its text."""
        before = self.files()
        status, out, err = self.run(*arguments)
        assert ERROR.findall(err) == [id], err
        assert status == 2
        assert not ERROR.findall(out)
        assert "Traceback" not in out + err
        for text in mentions:
            assert str(text) in err
        assert self.files() == before
        return err

    def files(self) -> dict[Path, bytes]:
        """Everything in the folder, with its content."""
        found = self.folder.rglob("*")
        return {p: p.read_bytes() if p.is_file() else b"" for p in found}
