"""The record of forks: which process this is, and which forked processes may still live.

::

    parent   generation 0 --before--> ongoing   --fork()--> after--> generation 1 ...
             TREE_TOKEN, token A                     |
    child                                            +--> generation 1, TREE_TOKEN, token B

Guarantees
----------
* ``TREE_TOKEN`` is equal in two processes only if one was forked from the other or both from a
  third, with no exec between.
* ``process_token()`` differs between any two processes: numbers are unique under it.
* If ``generation()`` was read before an object was made, and ``unseen_since`` of it is true after
  the object is gone, no living process has inherited a copy.

Assumptions
-----------
* Forks go through ``os.fork`` or ``os.forkpty``, which run the hooks. A program started by
  ``subprocess`` sees none of our memory and needs no entry here.
* Code that forks within `recorded` calls `settle` when it knows whether the children, and all of
  theirs, are gone.
* ``next()`` of an `itertools.count` and single operations on a list or dict are atomic. No lock is
  taken: a lock held by another thread at a fork would stay locked in the child for ever.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = [
    "TREE_TOKEN",
    "generation",
    "has_offspring",
    "is_child",
    "on_fork",
    "process_token",
    "recorded",
    "settle",
    "unseen_since",
]

TREE_TOKEN = os.urandom(16)

# What starts processes that are not forked: multiprocessing, that of pathos, that of Celery.
_STARTERS = ("multiprocessing.process", "multiprocess.process", "billiard.process")

_process_token = int.from_bytes(os.urandom(8), "little")
# Each number is given out once. Of two threads that fork at the same time either may store last:
# what reads the lower number then is made after both forks.
_generations = itertools.count(1)
_generation = 0
# The number of the last fork whose child may live for ever, in a child at first that of its own
# fork; and the numbers of recorded forks that are not settled.
_last_foreign = _birth = 0
_unsettled: dict[int, None] = {}
# The list of the thread that is within `recorded`.
_recorder = threading.local()
# One entry for each ongoing fork in some thread of this process.
_ongoing: list[None] = []


def process_token() -> int:
    """Return the random 64-bit number of this process, new in every forked child."""
    return _process_token


def generation() -> int:
    """Return the number of the current span between two forks, for `unseen_since`."""
    return _generation


def unseen_since(generation: int) -> bool:
    """Return whether no process lives that was forked since `generation` was read, or is now."""
    # At the interpreter's end an array may die after the globals of this module have become None,
    # as those of a ``__main__`` that dill still refers to.
    if _ongoing or _last_foreign is None or _last_foreign > generation:
        return False
    return not _unsettled or max(list(_unsettled), default=0) <= generation


def has_offspring() -> bool:
    """Return whether a process that was forked from this one may still live."""
    return bool(_ongoing or _unsettled) or _last_foreign > _birth


def is_child() -> bool:
    """Return whether another process has forked this one, or started it for a pool."""
    if _birth:
        return True
    # `parent_process()` of multiprocessing (loky, joblib, mpire, executors) and of its copies;
    # what is not loaded has started nothing.
    for name in _STARTERS:
        module = sys.modules.get(name)
        if module is not None and getattr(module, "_parent_process", None) is not None:
            return True
    return False


@contextmanager
def recorded() -> Iterator[list[int]]:
    """Record the forks of this thread within the block; yields their numbers, for `settle`."""
    numbers: list[int] = []
    _recorder.numbers = numbers
    try:
        yield numbers
    finally:
        _recorder.numbers = None


def settle(numbers: list[int], *, are_gone: bool) -> None:
    """Note whether the children of recorded forks, and all of theirs, are gone."""
    global _last_foreign
    if numbers and not are_gone:
        _last_foreign = max(_last_foreign, *numbers)
    for number in numbers:
        _unsettled.pop(number, None)


def on_fork(
    *, before: Callable[[], object] | None = None, in_child: Callable[[], object] | None = None
) -> None:
    """Call functions around every fork of this process and of its forked children, for ever.

    `before` runs in the forking thread, the last one registered first; `in_child` in the child, the
    first one registered first, where `process_token` and `generation` are already the child's.
    Python reports an exception of a hook as unraisable, and forks all the same.
    """
    if not hasattr(os, "register_at_fork"):
        return
    if before is not None:
        os.register_at_fork(before=before)
    if in_child is not None:
        os.register_at_fork(after_in_child=in_child)


def _before() -> None:
    # Other threads run between the hooks, and cannot know whether the fork has happened: until the
    # parent's hook has renewed the generation, everything counts as inherited.
    _ongoing.append(None)


def _after_in_parent() -> None:
    global _generation, _last_foreign
    number = next(_generations)
    numbers = getattr(_recorder, "numbers", None)
    if numbers is None:
        _last_foreign = max(_last_foreign, number)
    else:
        _unsettled[number] = None
        numbers.append(number)
    _generation = number
    _ongoing.pop()


def _after_in_child() -> None:
    global _birth, _generation, _last_foreign, _process_token
    _ongoing.clear()  # of the forking thread, and of threads that do not exist here
    _unsettled.clear()
    _recorder.numbers = None
    _birth = _generation = _last_foreign = next(_generations)
    _process_token = int.from_bytes(os.urandom(8), "little")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
    )
