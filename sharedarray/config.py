"""The number of workers, the debug flag, and `show_config`.

The first of these that is given sets the number of workers::

    argument np= of a pool
      > num_workers(n)             a ``with`` block, in this context
      > the share of a worker      inside a worker only
      > set_num_workers(n)         the whole process
      > SHAREDARRAY_NUM_WORKERS > OMP_NUM_THREADS > SLURM_CPUS_PER_TASK > PBS_NUM_PPN
      > the smaller of CPU affinity and cgroup quota
"""

from __future__ import annotations

import operator
import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from sharedarray import machine, picklemode

__all__ = [
    "config_facts",
    "cpu_count",
    "get_debug",
    "get_num_workers",
    "inherit_share",
    "num_workers",
    "set_debug",
    "set_num_workers",
    "share_for",
    "show_config",
    "worker_count_source",
]

ENVIRONMENT = (
    "SHAREDARRAY_NUM_WORKERS",
    "OMP_NUM_THREADS",  # may be a list, one number for each level of nesting: "4,2"
    "SLURM_CPUS_PER_TASK",
    "PBS_NUM_PPN",
)

_process_count: int | None = None
_debug = False
_context_count: ContextVar[int | None] = ContextVar("sharedarray_num_workers", default=None)
_worker_share: ContextVar[int | None] = ContextVar("sharedarray_worker_share", default=None)


def set_num_workers(n: int | None) -> None:
    """Set the default number of workers, for this process.

    Parameters
    ----------
    n : int or None
        Number of workers; 0 runs everything serially in the caller. None goes back to the
        environment and the machine.

    Raises
    ------
    TypeError
        If `n` is neither an integer nor None.
    ValueError
        If `n` is negative.

    See Also
    --------
    num_workers : The same for a ``with`` block.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.set_num_workers(3)
    >>> sharedarray.get_num_workers()
    3
    >>> sharedarray.set_num_workers(None)
    """
    global _process_count
    _process_count = None if n is None else _checked(n)


def get_num_workers() -> int:
    """Return the default number of workers here.

    Returns
    -------
    int
        Number of workers, 0 for serial; the same as `cpu_count`.

    Examples
    --------
    >>> import sharedarray
    >>> with sharedarray.num_workers(2):
    ...     sharedarray.get_num_workers()
    2
    """
    return cpu_count()


@contextmanager
def num_workers(n: int) -> Iterator[None]:
    """Set the default number of workers for a ``with`` block.

    The number holds in the context (`contextvars`) of the block, so in other threads only if they
    run in a copy of it. Blocks nest.

    Parameters
    ----------
    n : int
        Number of workers; 0 runs everything serially in the caller.

    Yields
    ------
    None

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If `n` is negative.

    Examples
    --------
    >>> from sharedarray import cpu_count, num_workers
    >>> with num_workers(4):
    ...     with num_workers(2):
    ...         inner = cpu_count()
    ...     inner, cpu_count()
    (2, 4)
    """
    token = _context_count.set(_checked(n))
    try:
        yield
    finally:
        _context_count.reset(token)


def cpu_count() -> int:
    """Return the default number of workers here.

    Returns
    -------
    int
        The first of: `num_workers`, in a worker its share, `set_num_workers`, the environment
        (``SHAREDARRAY_NUM_WORKERS``, the first number of ``OMP_NUM_THREADS``,
        ``SLURM_CPUS_PER_TASK``, ``PBS_NUM_PPN``), the smaller of the CPU affinity and the cgroup
        quota. At least 1, unless the user has set 0 (serial).

    Warns
    -----
    RuntimeWarning
        If one of the environment variables is not a positive integer; the next source is taken.

    Examples
    --------
    >>> import sharedarray
    >>> with sharedarray.num_workers(2):
    ...     sharedarray.cpu_count()
    2
    """
    return worker_count_source()[0]


def worker_count_source(n: int | None = None) -> tuple[int, str]:
    """Return the number of workers, and what has set it; `n` is the argument of a call, if any.

    >>> worker_count_source(7)
    (7, 'argument')
    """
    for count, source in (
        (None if n is None else _checked(n), "argument"),
        (_context_count.get(), "num_workers"),
        (_worker_share.get(), "share of this worker"),
        (_process_count, "set_num_workers"),
    ):
        if count is not None:
            return count, source
    return _environment_count() or machine.cpus()


def share_for(n_workers: int) -> int:
    """Return how many workers each of `n_workers` workers may have itself, at least 1.

    >>> with num_workers(8):
    ...     share_for(3), share_for(16)
    (2, 1)
    """
    return max(1, cpu_count() // max(1, n_workers))


def inherit_share(share: int) -> None:
    """Make `share` the number of workers in the current context, a worker's own.

    A `num_workers` block of the caller, copied with the context, no longer counts; one that the
    worker opens itself does.

    >>> import contextvars
    >>> def work():
    ...     inherit_share(1)
    ...     return cpu_count()
    >>> with num_workers(4):
    ...     contextvars.copy_context().run(work), cpu_count()
    (1, 4)
    """
    _worker_share.set(share)
    _context_count.set(None)


def set_debug(flag: bool) -> None:
    """Switch debug mode on or off, for this process.

    In debug mode pools have no workers: everything runs in the caller, where a debugger can stop
    it, and exceptions are not wrapped.

    Parameters
    ----------
    flag : bool
        True switches it on.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.set_debug(True)
    >>> sharedarray.get_debug()
    True
    >>> sharedarray.set_debug(False)
    """
    global _debug
    _debug = bool(flag)


def get_debug() -> bool:
    """Return whether debug mode is on.

    Returns
    -------
    bool
        What `set_debug` set; False at first.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.get_debug()
    False
    """
    return _debug


def config_facts() -> dict[str, str]:
    """Return the names and values that `show_config` prints.

    >>> config_facts()["debug mode"]
    'off'
    """
    count, source = worker_count_source()
    mode, mode_source = picklemode.setting()
    facts = {
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "NumPy": np.__version__,
        "SIMD features": machine.simd_features(),
        "platform": platform.platform(),
        "workers": f"{count} (from {source})",
        "total memory": machine.memory_size(),
        "shared huge pages": machine.shared_huge_pages(),
        "open files": machine.open_files(),
        "memory maps": machine.memory_maps(),
        "pickling": f"by {mode} (from {mode_source})",
        "debug mode": "on" if get_debug() else "off",
    }
    if facts["shared huge pages"] in ("never", "deny"):
        whose = "that other code than sharedarray's fills " if machine.collapses() else ""
        facts["huge pages cost"] = (
            f"fresh shared memory {whose}takes 2 to 3 times as long to fill; to allow them: "
            f"echo advise | sudo tee {machine.SHMEM_HUGE_PAGES}"
        )
    return facts


def show_config() -> None:
    """Print what decides the speed of the package on this machine.

    Versions, SIMD features, the number of workers and what has set it, memory, the setting for huge
    pages in shared memory and how to change it, limits.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.show_config()
    Python ...
    """
    facts = config_facts()
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")


def _checked(n: int) -> int:
    """Return `n` as an int; raise if it is no number of workers."""
    try:
        count = operator.index(n)
    except TypeError:
        message = f"the number of workers must be an integer, got {n!r} of {type(n).__name__}"
        raise TypeError(message) from None
    if count < 0:
        raise ValueError(f"the number of workers must be 0 (serial) or more, got {count}")
    return count


def _environment_count() -> tuple[int, str] | None:
    """Return the first number of workers that the environment sets, and its variable."""
    for name in ENVIRONMENT:
        value = os.environ.get(name, "").strip()
        if not value:
            continue
        first = value.split(",")[0].strip() if name == "OMP_NUM_THREADS" else value
        if first.isascii() and first.isdecimal() and int(first) > 0:
            return int(first), name
        warnings.warn(
            f"environment variable {name}={value!r} is not a positive integer and is ignored",
            RuntimeWarning,
            stacklevel=2,
        )
    return None
