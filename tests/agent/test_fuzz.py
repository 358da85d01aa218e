"""A little of ``python -m tests.agent.fuzz SECONDS`` with every run, and more in the slow suite."""

from __future__ import annotations

import os

import pytest

from .agents import NEEDS_CC
from .fuzz import fuzz

pytestmark = NEEDS_CC


@pytest.mark.parametrize(
    "seconds",
    [5, pytest.param(float(os.environ.get("FUZZ_SECONDS", "60")), marks=pytest.mark.slow)],
)
def test_changed_sessions_neither_end_nor_confuse_the_agent(seconds, tmp_path):
    assert fuzz(seconds, seed=int(seconds), folder=tmp_path) > 20
