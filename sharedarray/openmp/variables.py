"""The variables of a block: private to each rank, shared by all, or combined at its end.

Guarantees
    A shared array or a reduction keeps its dtype and shape: what is assigned is written into it,
    as NumPy writes into an array (``same_kind`` casting). Reductions are combined in the order of
    the ranks, so the result does not depend on who was faster.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sharedarray.memory.conversion import asarray

__all__ = [
    "Places",
    "Private",
    "Reduction",
    "Shared",
    "Variables",
    "combined",
    "declared",
    "of_rank",
    "partials",
]

# Those that give x for x and x: a rank may start from what the others start from.
_IDEMPOTENT = (np.maximum, np.minimum, np.fmax, np.fmin)


class Private:
    """Variables of which each rank of a `Parallel` block has its own copy.

    Parameters
    ----------
    **values
        Name and first value of each. Each rank gets a copy (`copy.deepcopy`), so the value itself
        stays as it is; of a shared array, a private one.

    Examples
    --------
    >>> from sharedarray import Parallel, Private
    >>> with Parallel(Private(seen=[]), num_threads=2) as p:
    ...     p.var.seen.append(p.rank)
    >>> p.var.seen
    [0]
    """

    def __init__(self, /, **values: Any) -> None:
        self.names = tuple(values)
        self._values = values

    def places(self) -> Places:
        """Return where they are kept."""
        return {name: _Own(value) for name, value in self._values.items()}


class Shared:
    """Arrays that all ranks of a `Parallel` block see, and the caller after it.

    Parameters
    ----------
    **values : array_like
        Name and value of each. A shared array is taken as it is; of anything else, a number
        included, a shared copy is made. An assignment to ``p.var.x`` writes into the array.

    Raises
    ------
    TypeError
        On entering, for a dtype that cannot be shared: one with Python objects.

    Notes
    -----
    Ranks that write to one element do so in ``with p.atomic:`` or ``with p.critical:``. What
    ``p.var.x`` gives is the array itself, of a number too: ``int(p.var.x)`` is its value now.

    Examples
    --------
    >>> from sharedarray import Parallel, Shared
    >>> with Parallel(Shared(count=0), num_threads=2) as p:
    ...     with p.atomic:
    ...         p.var.count += 1
    >>> int(p.var.count)
    2
    """

    def __init__(self, /, **values: ArrayLike) -> None:
        self.names = tuple(values)
        self._values = values

    def places(self) -> Places:
        """Return where they are kept."""
        return {name: _Common(asarray(value)) for name, value in self._values.items()}


class Reduction:
    """Variables that each rank of a `Parallel` block has its own of, combined at its end.

    Parameters
    ----------
    ufunc : numpy.ufunc
        Combines two values: any binary ufunc with an identity, or `numpy.maximum`,
        `numpy.minimum`, `numpy.fmax`, `numpy.fmin`.
    **values : array_like
        Name and first value of each, which sets dtype and shape. Each rank starts from the ufunc's
        identity; where there is none (maximum ...), from the first value, which counts once however
        often it comes.

    Raises
    ------
    TypeError
        If `ufunc` is none, has no loop for a value, or its result cannot be cast to the value's
        dtype.
    ValueError
        If `ufunc` is not binary or has nothing to start from, or the shape does not stay.
    RuntimeError
        If `ufunc` has a signature, such as `numpy.matmul`.

    Notes
    -----
    After the block ``p.var.x`` is ``ufunc(ufunc(value, x of rank 0), x of rank 1) ...`` in the
    dtype and the shape of the value: a scalar of NumPy where it is one.

    Examples
    --------
    >>> import numpy as np
    >>> from sharedarray import Parallel, Reduction
    >>> with Parallel(Reduction(np.add, total=100), num_threads=2) as p:
    ...     for i in p.forloop(10):
    ...         p.var.total += i
    >>> int(p.var.total)
    145
    """

    def __init__(self, ufunc: np.ufunc, /, **values: ArrayLike) -> None:
        if not isinstance(ufunc, np.ufunc):
            raise TypeError(f"a reduction needs a ufunc of NumPy, not {ufunc!r}")
        if ufunc.signature is not None:
            raise RuntimeError(f"reduction not defined on ufunc with signature {ufunc.signature}")
        if (ufunc.nin, ufunc.nout) != (2, 1):
            raise ValueError(f"a reduction needs a binary ufunc, not {ufunc.__name__}")
        if ufunc.identity is None and ufunc not in _IDEMPOTENT:
            raise ValueError(
                f"numpy.{ufunc.__name__} has no identity for the ranks to start from, and is not "
                "one of maximum, minimum, fmax, fmin"
            )
        self.names = tuple(values)
        self._ufunc = ufunc
        self._values = {name: np.array(value, order="C") for name, value in values.items()}
        for name, value in self._values.items():
            self._check(name, value)

    def places(self) -> Places:
        """Return where they are kept."""
        return {name: _Partial(self._ufunc, value) for name, value in self._values.items()}

    def _check(self, name: str, value: NDArray[Any]) -> None:
        if self._ufunc.identity is not None and value.dtype.kind in "SUTV":
            raise TypeError(
                f"{self._ufunc.identity!r} is no identity for {name!r} of {value.dtype}"
            )
        with np.errstate(all="ignore"):
            result = np.asarray(self._ufunc(value, value))
        if result.shape != value.shape:
            raise ValueError(f"numpy.{self._ufunc.__name__} does not keep the shape of {name!r}")
        if not (result.dtype.hasobject or np.can_cast(result.dtype, value.dtype, "same_kind")):
            raise TypeError(
                f"numpy.{self._ufunc.__name__} gives {result.dtype} for {name!r} of {value.dtype}"
            )


class _Place:
    """Where one variable is kept: by a declaration, and then by each rank."""

    is_reduction = False

    def of_rank(self) -> _Place:
        """Return where a rank keeps it."""
        raise NotImplementedError

    def get(self) -> Any:
        """Return what the user sees."""
        raise NotImplementedError

    def set(self, value: Any) -> None:
        """Take what the user assigns."""
        raise NotImplementedError

    def combined(self, partials: Iterable[Any]) -> _Place:
        """Return where the combination of what the ranks have is kept."""
        raise NotImplementedError


class _Own(_Place):
    def __init__(self, value: Any) -> None:
        self._value = value

    def of_rank(self) -> _Place:
        return _Own(copy.deepcopy(self._value))

    def get(self) -> Any:
        return self._value

    def set(self, value: Any) -> None:
        self._value = value


class _Array(_Place):
    """An array that is written to, and never replaced."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array

    def get(self) -> Any:
        return self._array

    def set(self, value: Any) -> None:
        if value is not self._array:  # after an augmented assignment it is
            np.copyto(self._array, value)


class _Common(_Array):
    def of_rank(self) -> _Place:
        return self


class _Partial(_Array):
    is_reduction = True

    def __init__(self, ufunc: np.ufunc, array: NDArray[Any]) -> None:
        super().__init__(array)
        self._ufunc = ufunc

    def of_rank(self) -> _Place:
        start = self._array.copy()
        if self._ufunc.identity is not None:
            # By a cast: -1, the identity of bitwise_and, stands for all bits of unsigned ones too.
            start[...] = np.asarray(self._ufunc.identity).astype(start.dtype)
        return _Partial(self._ufunc, start)

    def get(self) -> Any:
        return self._array if self._array.ndim else self._array[()]

    def combined(self, partials: Iterable[Any]) -> _Place:
        total = self._array
        for partial in partials:
            total = np.asarray(self._ufunc(total, partial)).astype(total.dtype)
        return _Partial(self._ufunc, total)


class Variables:
    """What ``p.var`` is: the variables of one rank, as attributes."""

    __places: Places

    def __init__(self, places: Places) -> None:
        object.__setattr__(self, "_Variables__places", places)

    def __getattr__(self, name: str) -> Any:
        return self.__place(name).get()

    def __setattr__(self, name: str, value: Any) -> None:
        self.__place(name).set(value)

    def __dir__(self) -> list[str]:
        return sorted(self.__places)

    def __place(self, name: str) -> _Place:
        try:
            return self.__places[name]
        except KeyError:
            known = ", ".join(self.__places) or "none"
            raise AttributeError(
                f"p.var has no {name!r} (declared: {known}): declare it with Private, Shared or "
                "Reduction"
            ) from None


Places = dict[str, _Place]


def declared(declarations: Iterable[Private | Shared | Reduction]) -> Places:
    """Return where the variables of a block are kept before it begins."""
    return {name: place for each in declarations for name, place in each.places().items()}


def of_rank(places: Places) -> Places:
    """Return where a rank keeps them."""
    return {name: place.of_rank() for name, place in places.items()}


def partials(places: Places) -> tuple[Any, ...]:
    """Return what a rank adds to the reductions."""
    return tuple(place.get() for place in places.values() if place.is_reduction)


def combined(first: Places, own: Places, of_ranks: list[tuple[Any, ...]]) -> Places:
    """Return where the coordinator keeps the variables after the block.

    Parameters
    ----------
    first, own : dict
        As they were before the block, and those of the coordinator.
    of_ranks : list of tuple
        What each rank adds to the reductions, in the order of the ranks.
    """
    result = dict(own)
    reductions = [name for name, place in first.items() if place.is_reduction]
    for i, name in enumerate(reductions):
        result[name] = first[name].combined(values[i] for values in of_ranks)
    return result
