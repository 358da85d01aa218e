"""How work is cut for threads."""

from __future__ import annotations

import itertools

import pytest

from armlet.schedules.loops import bands_of


@pytest.mark.parametrize("tile", [1, 2, 3, 4])
def test_two_threads_get_about_as_many_rows_of_bands(tile):
    for rows in range(1, 300):
        bands = bands_of(rows, tile, 3)
        cuts = [i * rows // bands for i in range(bands + 1)]
        heights = [end - first for first, end in itertools.pairwise(cuts)]
        assert sum(heights) == rows and (bands == 1 or min(heights) >= 3 * tile)
        assert max(heights) - min(heights) <= (0 if rows // bands < 16 else 1)


@pytest.mark.parametrize("rows, tile, bands", [(7, 2, 1), (14, 2, 2), (56, 4, 2), (112, 4, 7)])
def test_bands_are_of_whole_tiles_where_that_leaves_several(rows, tile, bands):
    assert bands_of(rows, tile, 3) == bands
