"""Thread pools of BLAS and OpenMP in workers, limited where threadpoolctl is installed."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any

__all__ = ["find_thread_pools", "limit_threads"]

# The limit lasts as long as this object.
_limiter: Any = None


def find_thread_pools() -> Any:
    """Return what `limit_threads` takes: the loaded libraries that have thread pools.

    Found in the coordinator, since it takes longer than a fork; again where modules have been
    imported since, which may have brought a library.
    """
    return _find(len(sys.modules)) if _threadpoolctl() is not None else None


def limit_threads(pools: Any, n_threads: int) -> None:
    """Let none of the pools have more threads, for the rest of this process."""
    global _limiter
    if pools is not None:
        _limiter = pools.limit(limits=n_threads)


@lru_cache(maxsize=1)
def _find(n_modules: int) -> Any:
    return _threadpoolctl().ThreadpoolController()


@lru_cache(maxsize=1)
def _threadpoolctl() -> Any:
    try:
        import threadpoolctl  # an extra; at the first map, since it takes 10 ms
    except ImportError:
        return None
    return threadpoolctl
