"""The variables of a block: private to each rank, shared by all, or combined at its end.

Guarantees
    A shared array or a reduction keeps its dtype and shape: an assignment writes into it, as NumPy
    writes into an array (``same_kind`` casting). Reductions are combined in the order of the ranks,
    so the result does not depend on which rank was faster.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sharedarray.memory.conversion import asarray

__all__ = [
    "Private",
    "Reduction",
    "Scope",
    "Shared",
    "Variables",
    "combined",
    "declared",
    "of_rank",
    "partials",
]

# Ufuncs that give x for x and x: all ranks may start from the same value.
_IDEMPOTENT = (np.maximum, np.minimum, np.fmax, np.fmin)


class Private:
    """Declare variables of which each rank of a `Parallel` block has its own copy.

    Parameters
    ----------
    **values
        Name and first value of each. Each rank gets a copy (`copy.deepcopy`), a private one of a
        shared array, too; the value itself stays as it is.

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

    def scope(self) -> Scope:
        """Return the variables before the block."""
        return {name: _Variable(value) for name, value in self._values.items()}


class Shared:
    """Declare arrays that all ranks of a `Parallel` block see, and the caller after it.

    Parameters
    ----------
    **values : array_like
        Name and value of each: a shared array as it is, a shared copy of anything else, numbers
        included. An assignment to ``p.var.x`` writes into the array.

    Raises
    ------
    TypeError
        On entry, for a dtype that cannot be shared: one with Python objects.

    Notes
    -----
    Write to an element that several ranks write to in ``with p.atomic:`` or ``with p.critical:``.
    ``p.var.x`` is the array itself, of a number, too: ``int(p.var.x)`` is its value.

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

    def scope(self) -> Scope:
        """Return the variables before the block."""
        return {name: _SharedVariable(asarray(value)) for name, value in self._values.items()}


class Reduction:
    """Declare variables that each rank of a `Parallel` block has its own of, combined at its end.

    Parameters
    ----------
    ufunc : numpy.ufunc
        Combines two values: a binary ufunc with an identity, or `numpy.maximum`, `numpy.minimum`,
        `numpy.fmax`, `numpy.fmin`.
    **values : array_like
        Name and first value of each, which sets dtype and shape. Each rank starts from the ufunc's
        identity, or from the first value if there is none (maximum ...).

    Raises
    ------
    TypeError
        If `ufunc` is no ufunc, has no loop for a value, or its result cannot be cast to the value's
        dtype.
    ValueError
        If `ufunc` is not binary, has nothing to start from, or does not keep the shape.
    RuntimeError
        If `ufunc` has a signature, such as `numpy.matmul`.

    Notes
    -----
    After the block ``p.var.x`` is ``ufunc(ufunc(value, x of rank 0), x of rank 1) ...`` in the
    dtype and shape of the value, a NumPy scalar for a number.

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

    def scope(self) -> Scope:
        """Return the variables before the block."""
        return {name: _ReducedVariable(self._ufunc, value) for name, value in self._values.items()}

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


class _Variable:
    """A variable of one rank, a private one: the user may assign anything."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def of_rank(self) -> _Variable:
        """Return a rank's variable, from the one before the block."""
        return _Variable(copy.deepcopy(self._value))

    def get(self) -> Any:
        """Return what the user sees."""
        return self._value

    def set(self, value: Any) -> None:
        """Take what the user assigns."""
        self._value = value


class _SharedVariable(_Variable):
    """An array: an assignment writes into it."""

    def of_rank(self) -> _Variable:
        return self

    def set(self, value: Any) -> None:
        if value is not self._value:  # after an augmented assignment it is
            np.copyto(self._value, value)


class _ReducedVariable(_SharedVariable):
    def __init__(self, ufunc: np.ufunc, array: NDArray[Any]) -> None:
        super().__init__(array)
        self._ufunc = ufunc

    def of_rank(self) -> _Variable:
        start = self._value.copy()
        if self._ufunc.identity is not None:
            # By a cast: -1, the identity of bitwise_and, stands for all bits of unsigned ones too.
            start[...] = np.asarray(self._ufunc.identity).astype(start.dtype)
        return _ReducedVariable(self._ufunc, start)

    def get(self) -> Any:
        return self._value if self._value.ndim else self._value[()]

    def combined(self, partials: Iterable[Any]) -> _Variable:
        """Return the variable after the block."""
        total = self._value
        for partial in partials:
            total = np.asarray(self._ufunc(total, partial)).astype(total.dtype)
        return _ReducedVariable(self._ufunc, total)


class Variables:
    """The variables of one rank, as attributes: ``p.var``."""

    __scope: Scope

    def __init__(self, scope: Scope) -> None:
        object.__setattr__(self, "_Variables__scope", scope)

    def __getattr__(self, name: str) -> Any:
        return self.__variable(name).get()

    def __setattr__(self, name: str, value: Any) -> None:
        self.__variable(name).set(value)

    def __dir__(self) -> list[str]:
        return sorted(self.__scope)

    def __variable(self, name: str) -> _Variable:
        try:
            return self.__scope[name]
        except KeyError:
            known = ", ".join(self.__scope) or "none"
            raise AttributeError(
                f"p.var has no {name!r} (declared: {known}): declare it with Private, Shared or "
                "Reduction"
            ) from None


Scope = dict[str, _Variable]


def declared(declarations: Iterable[Private | Shared | Reduction]) -> Scope:
    """Return the variables before the block."""
    return {
        name: each for declaration in declarations for name, each in declaration.scope().items()
    }


def of_rank(scope: Scope) -> Scope:
    """Return the variables of a rank, from those before the block."""
    return {name: each.of_rank() for name, each in scope.items()}


def partials(scope: Scope) -> tuple[Any, ...]:
    """Return what a rank adds to the reductions."""
    return tuple(each.get() for each in scope.values() if isinstance(each, _ReducedVariable))


def combined(first: Scope, own: Scope, of_ranks: list[tuple[Any, ...]]) -> Scope:
    """Return the variables after the block.

    They follow from those before the block, those of the coordinator in it, and the `partials` of
    each rank, in the order of the ranks.
    """
    result = dict(own)
    reductions = {n: each for n, each in first.items() if isinstance(each, _ReducedVariable)}
    for i, (name, each) in enumerate(reductions.items()):
        result[name] = each.combined(values[i] for values in of_ranks)
    return result
