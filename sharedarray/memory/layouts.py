"""What an array is going to be, asked of NumPy without touching memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from sharedarray.memory.cache import release_cache

__all__ = ["layout", "refuse_objects"]


def layout(make: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return shape, dtype and strides of a new array as an array of NumPy's, with its errors.

    It is private, and no page of it is touched. Where there is no room for it, there may be without
    the memory that is kept for later.
    """
    try:
        return make(*args, **kwargs)
    except MemoryError:
        release_cache()
        return make(*args, **kwargs)


def refuse_objects(dtype: DTypeLike | None) -> None:
    """Raise TypeError if elements of the dtype hold pointers into private memory.

    Raises
    ------
    TypeError
        If the dtype has Python objects or is a StringDType, or is not a dtype.
    """
    # Not np.dtype(dtype): np.empty also takes classes such as np.dtypes.Float64DType.
    if dtype is not None and (resolved := np.empty(0, dtype).dtype).hasobject:
        raise TypeError(
            f"dtype {resolved} cannot be in shared memory: its elements are pointers into the "
            "private memory of one process. Use a dtype of fixed size, such as numbers, 'S16', "
            "'U16' or a structured dtype of these"
        )
