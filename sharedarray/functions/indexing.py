"""a[order]: indexing with a large array of integers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray.functions.selecting import take
from sharedarray.functions.thresholds import MIN_TAKE, pays
from sharedarray.memory.array import SharedArray, implements

__all__: list[str] = []


@implements(np.ndarray.__getitem__)
def _getitem(self: SharedArray, index: NDArray[Any]) -> Any:
    """Return ``self[index]`` in private memory; NotImplemented where that is left to NumPy."""
    if (
        not pays(index.size, MIN_TAKE)
        or index.dtype.kind not in "iu"
        or not np.can_cast(index.dtype, np.intp)
        # Elsewhere the layout of NumPy's result is its own.
        or not (self.flags.c_contiguous and index.flags.c_contiguous)
        or not self.ndim
    ):
        return NotImplemented
    out: NDArray[Any] = np.empty(index.shape + self.shape[1:], self.dtype)
    return take(self, index, 0, out)
