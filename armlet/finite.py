"""Where the first NaN or infinity of a run comes from, by the layer's name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from armlet.errors import RangeError
from armlet.model import OpenModel
from armlet.reference import Arrays


def run_finite(model: OpenModel, feeds: Mapping[str, np.ndarray]) -> Arrays:
    """The outputs; ``RangeError`` naming the layer if one of them is not finite.

    Values inside are looked at only then: their unused lanes may hold anything.
    """
    tasks = iter(model.tasks)
    suspects: list[str] = []

    def observe(name: str, data: np.ndarray) -> None:
        source = next(tasks).source
        if not _finite(data):
            suspects.append(source)

    with model.observe(observe):
        results = model.run(feeds)
    wrong = [name for name, data in results.items() if not _finite(data)]
    if not wrong:
        return results
    raise RangeError(
        f"output {wrong[0]!r} has NaN or infinities, and the first layer with such numbers is "
        f"{suspects[0]!r}",
        where=str(model.path),
        way_out="compile with this input as --data, so that layers which leave the range of "
        "float16 are in float32; armlet diff compares every layer with the source",
    )


def _finite(data: np.ndarray) -> bool:
    return data.dtype.kind != "f" or bool(np.isfinite(data).all())
