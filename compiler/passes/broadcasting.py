"""How a constant is laid over a tensor: questions that several passes ask."""

from __future__ import annotations

import numpy as np

from armlet.compiler.ir import TensorType


def along_axis(data: np.ndarray, type: TensorType, axis: int) -> np.ndarray | None:
    """``data`` as a vector along ``axis`` of a tensor, if it varies along no other axis.

    A scalar becomes a constant vector. None where broadcasting would enlarge the tensor.
    """
    extent = type.shape[axis]
    if not isinstance(extent, int) or data.ndim > type.rank:
        return None
    shape = (1,) * (type.rank - data.ndim) + data.shape
    if any(d != 1 for i, d in enumerate(shape) if i != axis % type.rank):
        return None
    vector = data.reshape(-1)
    if vector.size == extent:
        return vector
    return np.broadcast_to(vector, (extent,)) if vector.size == 1 else None
