"""Thread pools of BLAS and OpenMP, limited for workers where threadpoolctl is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

__all__ = ["limited_threads"]


@contextmanager
def limited_threads(n_threads: int) -> Iterator[None]:
    """Let the pools of this process have at most `n_threads` threads for the length of the block.

    Processes that are forked within keep the limit. To limit each of them in itself would take
    longer, and start the threads that the fork has just ended.
    """
    if _threadpoolctl() is None:
        yield
        return
    # Libraries are looked for again where modules have been imported since.
    with _thread_pools(len(sys.modules)).limit(limits=n_threads):
        yield


@lru_cache(maxsize=1)
def _thread_pools(n_modules: int) -> Any:
    return _threadpoolctl().ThreadpoolController()


@lru_cache(maxsize=1)
def _threadpoolctl() -> Any:
    try:
        import threadpoolctl  # an extra; at the first map, since it takes 10 ms
    except ImportError:
        return None
    return threadpoolctl
