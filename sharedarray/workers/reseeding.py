"""The random numbers of a new worker process."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

__all__ = ["reseed"]


def reseed(seed: int | Sequence[int], key: tuple[int, ...]) -> None:
    """Give NumPy's global generator a stream of its own, or every worker would draw the same.

    Parameters
    ----------
    seed : int or sequence of int
        Of all workers.
    key : tuple of int
        Of this one.
    """
    if "numpy.random" not in sys.modules:
        return
    seeds = np.random.SeedSequence(seed, spawn_key=key)
    # Not np.random.seed, which takes a lock that another thread may have had at the fork.
    np.random.set_bit_generator(  # type: ignore[attr-defined]  # left out of the stubs
        np.random.MT19937(seeds)
    )
