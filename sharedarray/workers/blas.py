"""Thread pools of BLAS and OpenMP, limited for workers where threadpoolctl is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import Any

from sharedarray import forks
from sharedarray.workers.interrupts import signals_blocked

__all__ = ["limited_threads"]

_lock = Lock()
# A list with the limit of each block that runs, in any thread.
_wanted: list[list[int]] = []
# The pools that are limited, and what restores them.
_limiters: list[tuple[Any, Any]] = []


@contextmanager
def limited_threads(n_threads: int) -> Iterator[None]:
    """Let the pools of this process have at most `n_threads` threads for the length of the block.

    Of blocks at the same time the lowest limit holds. Processes that are forked within keep the
    limit: to limit each in itself would take longer, and start the threads that its fork has ended.
    """
    if _threadpoolctl() is None:
        yield
        return
    mine = [n_threads]
    try:
        with signals_blocked(), _lock:
            _wanted.append(mine)
            _limit()
        yield
    finally:
        with signals_blocked(), _lock:
            others = [each for each in _wanted if each is not mine]
            if len(others) < len(_wanted):  # else this is a child forked within, which keeps it
                _wanted[:] = others
                _limit()


def _limit() -> None:
    if not _wanted:
        while _limiters:
            _limiters.pop()[1].restore_original_limits()
        return
    # Libraries are looked for again where modules have been imported since.
    pools = _thread_pools(len(sys.modules))
    limiter = pools.limit(limits=min(each[0] for each in _wanted))
    if all(known is not pools for known, _ in _limiters):
        _limiters.append((pools, limiter))


def _start_afresh() -> None:
    """Keep the limit in a forked child, whichever blocks end there."""
    global _lock
    _lock = Lock()
    _wanted.clear()
    _limiters.clear()


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


forks.on_fork(in_child=_start_afresh)
