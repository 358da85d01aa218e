"""What docs/explanation/security.md claims has tests."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "explanation" / "security.md"


def test_every_test_that_the_page_names_is_there():
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text()))
    files = [*TESTS.glob("agent/*.py"), *TESTS.glob("rpc/*.py")]
    found = {n for f in files for n in re.findall(r"def (test_\w+)", f.read_text())}
    assert len(named) > 20
    assert not named - found
