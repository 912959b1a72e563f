"""How large new arrays are filled: in parallel, each page first touched by who fills it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray.functions.common import numpy_errors, pool_for
from sharedarray.memory import filling, pages
from sharedarray_ops import elementwise

__all__: list[str] = []


def _fill(array: NDArray[Any], values: Any) -> None:
    """Set an array to `values`, see `memory.filling.fill`."""
    if np.ndim(values) == 0:  # converted once, with NumPy's errors and warnings
        value = np.empty((), array.dtype)
        np.copyto(value, values, casting="unsafe")
        values = value
    with numpy_errors():
        elementwise.assign(array, np.asarray(values), pool_for(None), pages.populator(array))


filling.use(_fill)
