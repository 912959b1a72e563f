"""Write to whole arrays; to large ones in parallel, as soon as `functions` has said how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray.memory import pages
from sharedarray.memory.segment import HUGE_PAGE_NBYTES

__all__ = ["MIN_PARALLEL_NBYTES", "fill", "use"]

# From here on two threads win over one, waking them included (8 MiB take a few hundred us); in
# fresh memory, for which the kernel has to make pages, they win later.
MIN_PARALLEL_NBYTES = 8 << 20
_MIN_PARALLEL_FRESH_NBYTES = 24 << 20

_parallel: Callable[[NDArray[Any], Any], None] | None = None


def fill(array: NDArray[Any], values: Any) -> None:
    """Set a plain array to `values`, broadcast and cast as NumPy's creation functions do it."""
    touch = pages.populator(array) if array.nbytes >= HUGE_PAGE_NBYTES else None
    least = MIN_PARALLEL_NBYTES if touch is None else _MIN_PARALLEL_FRESH_NBYTES
    if array.nbytes >= least and _parallel is not None:
        _parallel(array, values)
        return
    if touch is not None:
        touch(array)
    np.copyto(array, values, casting="unsafe")


def use(function: Callable[[NDArray[Any], Any], None]) -> None:
    """Have large arrays filled by a function, which is called as `fill`."""
    global _parallel
    _parallel = function
