"""Thread pools of BLAS and OpenMP, limited for workers where threadpoolctl is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from threading import Lock
from typing import Any

from sharedarray import forks

__all__ = ["limited_threads"]

_lock = Lock()
# What the blocks that are under way want, in whatever threads, and the limiter that knows what was
# before the first of them.
_wanted: list[int] = []
_first: list[Any] = []


@contextmanager
def limited_threads(n_threads: int) -> Iterator[None]:
    """Let the pools of this process have at most `n_threads` threads for the length of the block.

    Of blocks at the same time the lowest limit holds, and after the last one what was before.
    Processes that are forked within keep the limit. To limit each of them in itself would take
    longer, and start the threads that the fork has just ended.
    """
    if _threadpoolctl() is None:
        yield
        return
    with _lock:
        _wanted.append(n_threads)
        _limit()
    try:
        yield
    finally:
        with _lock, suppress(ValueError):  # a child forked within has forgotten it
            _wanted.remove(n_threads)
            _limit()


def _limit() -> None:
    if not _wanted:
        _first.pop().restore_original_limits()
        return
    # Libraries are looked for again where modules have been imported since.
    limiter = _thread_pools(len(sys.modules)).limit(limits=min(_wanted))
    if not _first:
        _first.append(limiter)


def _start_afresh() -> None:
    """Keep the limit in a forked child, whatever ends there."""
    global _lock
    _lock = Lock()
    _wanted.clear()
    _first.clear()


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
