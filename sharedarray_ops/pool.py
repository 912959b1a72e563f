"""What an algorithm needs of a pool of workers and of memory, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")
Result = TypeVar("Result")

__all__ = ["PRIVATE", "Caller", "Memory", "Pool", "Touch", "n_workers"]

# What is called on a part of an output, by the worker that is going to write to it first; it may
# have the pages made. None where they are there.
Touch = Callable[[NDArray[Any]], object] | None


class Memory(NamedTuple):
    """Where an algorithm has its results and scratch: in memory that the workers share.

    Attributes
    ----------
    empty : callable
        Allocates an array of a shape and dtype.
    populator : callable
        Returns the `Touch` of an array.
    """

    empty: Callable[..., NDArray[Any]]
    populator: Callable[[NDArray[Any]], Touch]


PRIVATE = Memory(np.empty, lambda array: None)  # for threads, and for the caller


class Pool(Protocol):
    """Workers that run one function over the items of a sequence.

    `np` is the worker count, 0 for a pool that runs in the caller. `map` returns the results in
    the order of the items. A function may write to its own part of an output in shared memory;
    everything else that it produces has to be in its result, since workers may be processes.
    """

    @property
    def np(self) -> int:
        """Return the worker count."""
        ...

    def map(self, func: Callable[[Item], Result], sequence: Sequence[Item], /) -> list[Result]:
        """Return ``[func(item) for item in sequence]``."""
        ...


class Caller:
    """A pool that runs everything in the caller: for work within the work of a pool."""

    np = 0

    def map(self, func: Callable[[Item], Result], sequence: Sequence[Item], /) -> list[Result]:
        """Return ``[func(item) for item in sequence]``."""
        return [func(item) for item in sequence]


def n_workers(pool: Pool) -> int:
    """Return how many chunks of `pool` run at a time: at least 1, also for a serial pool."""
    return max(1, pool.np)
