"""What `sort` and `argsort` are asked for: NumPy's checks of the arguments, and what they mean."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.sort.columns import is_sortable

__all__ = ["Request", "numpy_options", "numpy_sorts", "requested"]


class Request(NamedTuple):
    """Valid arguments.

    Attributes
    ----------
    axis : int
        Not negative.
    order : tuple of str
        Fields to compare first.
    stable : bool
        Whether equal elements have to keep their order.
    descending : bool
        Whether larger elements go first.
    """

    axis: int
    order: tuple[str, ...]
    stable: bool
    descending: bool


def requested(
    function: Callable[..., Any],
    a: NDArray[Any],
    axis: Any,
    kind: Any,
    order: Any,
    stable: bool | None,
    descending: bool | None,
) -> Request:
    """Have NumPy's function raise for bad arguments; return what good ones mean.

    Raises
    ------
    AxisError, TypeError, ValueError
        As NumPy, by a call with no elements.
    """
    options = numpy_options(stable, descending)
    empty = np.empty((0,) * a.ndim, a.dtype)
    function(empty, axis, kind, order, **options)
    if descending is not None and "descending" not in options:
        _check_descending(a.dtype, kind, descending)
    letter = kind.decode() if isinstance(kind, bytes) else kind or ""
    return Request(
        axis=int(np.lib.array_utils.normalize_axis_index(axis, a.ndim)) if a.ndim else 0,
        order=(order,) if isinstance(order, str) else tuple(order or ()),
        stable=bool(stable) or letter[:1] in tuple("sSmM"),
        descending=bool(descending),
    )


def numpy_options(stable: bool | None, descending: bool | None) -> dict[str, Any]:
    """Return the keyword arguments of NumPy's functions, those that the installed one has."""
    options: dict[str, Any] = {"stable": stable}
    if descending is not None and _has_descending():
        options["descending"] = descending
    return options


def numpy_sorts(a: NDArray[Any]) -> bool:
    """Return whether only NumPy can sort an array, or there is nothing to sort."""
    return not is_sortable(a.dtype) or a.size == 0 or a.ndim == 0


@lru_cache(maxsize=1)
def _has_descending() -> bool:
    return bool(np.lib.NumpyVersion(np.__version__) >= "2.5.0")


def _check_descending(dtype: np.dtype[Any], kind: Any, descending: bool) -> None:
    """Raise where NumPy 2.5 does, which is the first to have the argument."""
    if kind is not None:
        raise ValueError("`kind` and `descending` cannot be given at the same time: use `stable`")
    if descending and not (is_sortable(dtype) and dtype.kind != "V"):
        raise TypeError(f"there is no descending order of the dtype {dtype}")
