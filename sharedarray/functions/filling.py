"""Fill large arrays in parallel: each worker first touches the pages that it fills."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray.functions.pools import numpy_errors, pool_for
from sharedarray.memory import pages
from sharedarray_ops import elementwise

__all__ = ["fill"]


def fill(array: NDArray[Any], values: Any) -> None:
    """Set a large array to `values`: see `memory.pages.fill`, which calls this by its name."""
    if np.ndim(values) == 0:  # converted once, with NumPy's errors and warnings
        value = np.empty((), array.dtype)
        np.copyto(value, values, casting="unsafe")
        values = value
    with numpy_errors():
        elementwise.assign(array, np.asarray(values), pool_for(None), pages.populator(array))
