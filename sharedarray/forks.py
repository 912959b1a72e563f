"""The ledger of forks: which process this is, and which forks have happened.

::

    parent   generation 0 --before--> under way --fork()--> after--> generation 1 ...
             TREE_TOKEN, token A                     |
    child                                            +--> generation 1, TREE_TOKEN, token B

Guarantees
----------
* ``TREE_TOKEN`` is equal in two processes only if one was forked from the other or both from a
  third, with no exec between.
* ``process_token()`` differs between any two processes: what is numbered under it is unique.
* If ``generation()`` was read before something was made, and ``unforked_since`` says true of it
  after the thing is gone, no forked child was born with a copy.

Assumptions
-----------
* Forks go through ``os.fork`` or ``os.forkpty``, which run the hooks. A program started by
  ``subprocess`` sees none of our memory and needs no entry here.
* ``next()`` of an `itertools.count` and ``append``/``pop`` of a list are atomic. No lock is taken:
  a lock held by another thread at a fork would stay locked in the child for ever.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable

__all__ = ["TREE_TOKEN", "generation", "on_fork", "process_token", "unforked_since"]

TREE_TOKEN = os.urandom(16)

_process_token = int.from_bytes(os.urandom(8), "little")
# Every number is handed out once, so a generation never comes back, whichever of two threads that
# fork at the same time stores last.
_generations = itertools.count(1)
_generation = 0
# One entry for each fork that is under way in some thread of this process.
_under_way: list[None] = []


def process_token() -> int:
    """Return the random 64-bit number of this process, new in every forked child."""
    return _process_token


def generation() -> int:
    """Return the number of the current span between two forks, to be given to `unforked_since`."""
    return _generation


def unforked_since(generation: int) -> bool:
    """Return whether no fork has happened, and none is under way, since `generation` was read."""
    return not _under_way and generation == _generation


def on_fork(
    *, before: Callable[[], object] | None = None, in_child: Callable[[], object] | None = None
) -> None:
    """Call functions around every fork of this process and of its forked children, for ever.

    Parameters
    ----------
    before : callable, optional
        Called without arguments in the forking thread before the fork, last registered first.
    in_child : callable, optional
        Called in the child after the fork, first registered first; `process_token` and
        `generation` are the child's own by then.

    Notes
    -----
    Python reports an exception of a hook as unraisable, and forks all the same. Where there is
    no fork, nothing is ever called.
    """
    if not hasattr(os, "register_at_fork"):
        return
    if before is not None:
        os.register_at_fork(before=before)
    if in_child is not None:
        os.register_at_fork(after_in_child=in_child)


def _before() -> None:
    # Other threads run on between the hooks, and cannot know whether the fork has been: until
    # the parent's hook has renewed the generation, nothing counts as unforked.
    _under_way.append(None)


def _after_in_parent() -> None:
    global _generation
    _generation = next(_generations)
    _under_way.pop()


def _after_in_child() -> None:
    global _generation, _process_token
    _under_way.clear()  # the forking thread's own, and those of threads that are not here
    _generation = next(_generations)
    _process_token = int.from_bytes(os.urandom(8), "little")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
    )
