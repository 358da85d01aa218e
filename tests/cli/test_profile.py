"""``profile``: the layers against the roofline, as a table, as JSON and as a page in a browser."""

from __future__ import annotations

import pytest


def test_layers_are_sorted_by_what_they_lose(document, artifact):
    found = document("profile", artifact)
    losses = [row["loss"] for row in found["layers"]]
    assert losses == sorted(losses, reverse=True)
    assert found["machine"]["threads"] == 1
    for row in found["layers"]:
        assert row["loss"] == pytest.approx(max(0, row["seconds"] - row["bound"]))
        assert row["limit"] in ("compute", "cache", "memory")
        assert row["moved_bytes"] > 0


def test_the_table_names_algorithm_and_share_of_the_roofline(shell, artifact):
    text = shell("profile", artifact)
    assert "conv2d_direct" in text and "of roofline" in text and "GFLOP/s" in text


def test_the_page_is_whole_and_draws_in_a_browser(shell, artifact, tmp_path, rendered):
    page = tmp_path / "profile.html"
    shell("profile", artifact, "--html", page)
    text = page.read_text()
    # nothing is fetched
    assert "<link" not in text and "src=" not in text.split("</script>", 1)[1]
    drawn = rendered(page)
    assert drawn.count('class="main-svg"') >= 4
    assert drawn.count('class="point"') >= 3
    for title in ("Timeline", "Lost time", "Roofline", "Memory", "All tasks"):
        assert f"<h2>{title}</h2>" in drawn


def test_a_page_that_cannot_be_written_is_told(shell, artifact, tmp_path):
    shell("profile", artifact, "--html", tmp_path / "no" / "folder.html", status=2)
    assert list(tmp_path.glob("*.html")) == []
