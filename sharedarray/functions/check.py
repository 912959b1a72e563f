"""A check that what is promised of the bits holds with the NumPy that is running.

The promise rests on the order in which NumPy adds: the cuts of its summation tree, the use of its
buffer, the loops that its iterator makes. None of it is part of NumPy's interface. The kernels are
called with sizes and numbers of workers of their own, so that small arrays go through all of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.pool import Caller
from sharedarray_ops.reduce import folding, summation
from sharedarray_ops.reduce.folding import Fold

__all__ = ["NumPyReport", "check_numpy"]

_N_WORKERS = range(1, 8)
_SIZES = (128, 129, 1000, 4099, 9001, 30_011)
_SHAPES = (((40, 50, 13), (0, 2)), ((40, 50, 13), (1,)), ((9001, 5), (0,)), ((6, 20_011), (1,)))
_LEAF = 160  # elements: above the 128 that NumPy adds without a tree


@dataclass(frozen=True)
class NumPyReport:
    """What `check_numpy` found.

    Attributes
    ----------
    version : str
        Of NumPy.
    n_checked : int
        How many results were compared.
    differences : tuple of str
        What differs, none where all promises hold.
    """

    version: str
    n_checked: int
    differences: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.differences

    def __str__(self) -> str:
        if not self.differences:
            return f"NumPy {self.version}: all {self.n_checked} results have the same bits"
        lines = [f"NumPy {self.version}: not the same bits in"]
        return "\n    ".join([*lines, *self.differences])


def check_numpy(*, strict: bool = True, seed: int = 0) -> NumPyReport:
    """Check that parallel reductions give the bits of the NumPy that is running.

    Parameters
    ----------
    strict : bool, default True
        Whether to raise where they do not.
    seed : int, default 0
        Of the random values.

    Returns
    -------
    NumPyReport
        True if all promises hold; its str says what was found.

    Raises
    ------
    RuntimeError
        If results differ and `strict` is true. It names what differs.

    Notes
    -----
    It takes about a second, and runs in the caller: the bits depend on where an array is cut, not
    on the workers. Sums, means and variances of all elements and along axes, of every dtype of
    numbers, in several layouts, with random values, values of very different size, and sums that
    cancel; as if for 1 to 7 workers. NumPy 2.0 to 2.5 keep all promises. Where another one does
    not, results differ from NumPy's in the last bits.

    Examples
    --------
    >>> import sharedarray
    >>> bool(sharedarray.check_numpy())
    True
    """
    differences: dict[str, None] = {}
    n_checked = 0
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for what, result, expected in _results(np.random.default_rng(seed)):
            if result is not None:
                n_checked += 1
                if not _same_bits(result, expected):
                    differences[what] = None
    report = NumPyReport(np.__version__, n_checked, tuple(differences))
    if strict and not report:
        raise RuntimeError(f"{report}\nPlease report it, with the version and the processor.")
    return report


class _Workers(Caller):
    """A pool that cuts the work for some workers, and does it in the caller."""

    def __init__(self, n_workers: int) -> None:
        self.np = n_workers


def _results(rng: np.random.Generator) -> Iterator[tuple[str, Any, Any]]:
    """Yield what was computed, in our way, and by NumPy."""
    for dtype in ("f2", "f4", "f8", "g", "F", "D"):
        for n in _SIZES:
            for kind, a in _values(rng, n, dtype):
                yield from _of_all_elements(f"{kind} {a.dtype.name}", a)
    for dtype in ("i2", "i8", "u4", "?", ">f4", ">f8", ">c8", ">c16", "f4", "f2"):
        a = next(_values(rng, 30_011, "f8"))[1].astype(dtype)
        yield from _converted(f"{a.dtype.str} to float", a)
    for shape, axes in _SHAPES:
        for dtype in ("f2", "f4", "f8", "g", "D", ">f8", "i4"):
            kind, a = next(_values(rng, int(np.prod(shape)), "f8"))
            yield from _along_axes(f"{kind} {dtype}", a.astype(dtype).reshape(shape), axes)


def _values(rng: np.random.Generator, n: int, dtype: str) -> Iterator[tuple[str, NDArray[Any]]]:
    sizes = rng.lognormal(0, 3, n)
    cancelling = np.concatenate([sizes[: n // 2], -sizes[: n - n // 2]])
    for kind, values in (
        ("positive", sizes),
        ("mixed", sizes * rng.choice([-1, 1], n)),
        ("cancelling", cancelling),
    ):
        a = values.astype(dtype)
        yield kind, (a + a.dtype.type(1j) * a[::-1] if a.dtype.kind == "c" else a)


def _of_all_elements(what: str, a: NDArray[Any]) -> Iterator[tuple[str, Any, Any]]:
    layouts = {"": a, " reversed": a[::-1], " strided": np.repeat(a, 3)[::3]}
    for name, same in layouts.items():
        expected = np.sum(same)
        center = np.true_divide(np.add.reduce(same, keepdims=True), same.size, dtype=None).astype(
            a.dtype
        )
        squares = summation.deviations(center)
        deviating = np.sum(_deviating(same, center))
        for n_workers in _N_WORKERS:
            pool = _Workers(n_workers)
            yield f"sum of {what}{name}", _tree(same, pool), expected
            yield f"variance of {what}{name}", _tree(same, pool, squares), deviating


def _deviating(a: NDArray[Any], center: NDArray[Any]) -> NDArray[Any]:
    """Return what NumPy's `var` adds, in the memory layout in which it does."""
    x: NDArray[Any] = np.subtract(a, center)
    if x.dtype.kind != "c":
        np.square(x, out=x)
        return x
    parts = np.square(x.view(x.real.dtype).reshape(-1, 2))
    squares: NDArray[Any] = np.add(parts[:, 0], parts[:, 1], out=x.real)
    return squares


def _tree(a: NDArray[Any], pool: _Workers, terms: Any = None) -> NDArray[Any] | None:
    total = summation.sum_tree(a, pool, terms, leaf=_LEAF)
    if total is None:
        return None
    like = a[:0] if terms is None else terms(a[:0])
    narrowed: NDArray[Any] = total.astype(np.add.reduce(like).dtype)
    return narrowed.reshape(())


def _converted(what: str, a: NDArray[Any]) -> Iterator[tuple[str, Any, Any]]:
    dtype = np.dtype(np.complex128 if a.dtype.kind == "c" else np.float64)
    expected = np.add.reduce(a, dtype=dtype)
    for n_workers in _N_WORKERS:
        total = summation.sum_buffered(a, _Workers(n_workers), np.getbufsize(), dtype)
        yield f"sum of {what}", None if total is None else total[0], expected


def _along_axes(
    what: str, a: NDArray[Any], axes: tuple[int, ...]
) -> Iterator[tuple[str, Any, Any]]:
    dtype = np.float64 if a.dtype.kind == "i" else None
    ways: dict[str, Any] = {
        "sum": lambda a, axes: np.add.reduce(a, axis=axes, dtype=dtype, keepdims=True),
        "mean": lambda a, axes: np.mean(a, axis=axes, keepdims=True),
        "variance": lambda a, axes: np.var(a, axis=axes, keepdims=True),
    }
    for order, same in {"C": a, "F": np.asfortranarray(a), "reversed": a[::-1, ::-1]}.items():
        for name, reduce in ways.items():
            expected = reduce(same, axes)
            for n_workers in _N_WORKERS:
                pool, how = _Workers(n_workers), Fold(reduce)
                plan = folding.cut(same, axes, how, pool)
                if plan is None:
                    continue
                out = np.empty_like(expected)
                done = folding.fold(how, same, axes, plan, out, pool)
                yield f"{name} of {what} along {axes} ({order})", out if done else None, expected


def _same_bits(result: Any, expected: Any) -> bool:
    result, expected = np.asarray(result), np.asarray(expected)
    if result.dtype != expected.dtype or result.shape != expected.shape:
        return False
    if result.dtype.char in "gG" or np.isnan(expected).any():  # padding, and NaN of any sign
        return bool(np.array_equal(result, expected, equal_nan=True))
    return bool(result.tobytes() == expected.tobytes())
