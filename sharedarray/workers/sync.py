"""What the workers of one map share: who takes which item, whose turn it is, who is inside.

::

    coordinator --items--> Schedule --claims--> worker --`with pool.ordered`--> turn, in item order
                                                       --`with pool.critical`--> one at a time

Guarantees
    Items are claimed in order, each one once. An item's turn comes when no earlier item can still
    want one: all of them were claimed before it, and each has left its ordered block or ended
    without one. Stopping wakes everybody who waits here; nobody waits for a worker that has
    failed. A map stops with the map around it: its workers see that before their next item, and
    wake those who wait.

Assumptions
    Workers are threads of one process.

Ownership
    One condition variable guards all of it. `pending` has one entry a worker: the lowest item that
    the worker has claimed and that may still want a turn.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Sequence
from threading import Condition
from typing import Any, NamedTuple

__all__ = ["Claim", "Schedule", "Stopped"]


class Stopped(BaseException):
    """Unwind a worker whose map has ended: another item failed, or the coordinator gave up.

    Derived from BaseException so that the work function's own ``except Exception`` lets it pass.
    """


class Claim(NamedTuple):
    """Items that one worker runs, in order.

    Attributes
    ----------
    start, stop : int
        The positions of the items in the map.
    items : Sequence
        Where they are; the worker looks them up, so that a failing lookup is a failing item.
    first : int
        The position of the first one in `items`.
    """

    start: int
    stop: int
    items: Sequence[Any]
    first: int


class Schedule:
    """The state that the workers of one map share.

    Parameters
    ----------
    n_workers : int
        Workers have ranks below this.
    sequence : Sequence or None
        The items; None where the coordinator feeds them one by one with `feed`.
    n_items : int
        The length of the sequence.
    outer : Schedule, optional
        Of the map whose worker runs this map: where that one has stopped, so has this one.
    """

    def __init__(
        self,
        n_workers: int,
        sequence: Sequence[Any] | None,
        n_items: int = 0,
        outer: Schedule | None = None,
    ) -> None:
        self._changed = Condition()
        self._sequence = sequence
        self._n_items = n_items
        self._outer = outer
        self._n_claimed = 0
        self._fed: deque[Any] = deque()
        self._fed_all = sequence is not None
        self._pending: list[float] = [math.inf] * n_workers
        self._n_waiting = 0
        self._inside: object = None
        self._stopped = False

    # The coordinator's side.

    def feed(self, item: Any) -> None:
        """Append an item that workers may claim."""
        with self._changed:
            self._fed.append(item)
            self._n_items += 1
            self._changed.notify_all()

    def finish_feeding(self) -> None:
        """Tell the workers that no further item will come."""
        with self._changed:
            self._fed_all = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Let no worker start another item, and wake those who wait here."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    @property
    def stopped(self) -> bool:
        """Return whether nobody may start another item."""
        return self._stopped or (self._outer is not None and self._outer.stopped)

    # The workers' side.

    @property
    def n_left(self) -> int:
        """Return how many items nobody has claimed yet."""
        return self._n_items - self._n_claimed

    def claim(self, rank: int, size: int) -> Claim | None:
        """Claim the next `size` items, or what is left; None at the end of the map."""
        with self._changed:
            while not self.n_left and not self._fed_all and not self.stopped:
                self._changed.wait()
            if self.stopped or not self.n_left:
                return None
            start = self._n_claimed
            self._n_claimed += min(size, self.n_left)
            stop = self._n_claimed
            self._pending[rank] = start
            if self._sequence is not None:
                return Claim(start, stop, self._sequence, start)
            return Claim(start, stop, [self._fed.popleft() for _ in range(start, stop)], 0)

    def passed(self, rank: int, next_item: float) -> None:
        """Note that `rank` wants no turn before that of `next_item` (infinity: of its next claim).

        Called after every item, so it takes the lock only where somebody waits. Nobody is missed:
        a waiter counts itself before it looks at `pending`, and here `pending` is set before the
        count is looked at.
        """
        self._pending[rank] = next_item
        if self._n_waiting:
            with self._changed:
                self._changed.notify_all()

    def await_turn(self, rank: int, item: int) -> None:
        """Wait until no earlier item can want a turn."""
        others = [r for r in range(len(self._pending)) if r != rank]
        with self._changed:
            self._wait(lambda: all(self._pending[r] > item for r in others))

    def enter(self, worker: object, ancestors: Collection[object]) -> None:
        """Wait until nobody is inside the critical block, then be.

        Raises
        ------
        RuntimeError
            Where the worker itself is inside, or one of its ancestors, who waits for it.
        """
        with self._changed:
            if self.is_inside(ancestors):
                raise RuntimeError("pool.critical was entered within pool.critical")
            self._wait(lambda: self._inside is None)
            self._inside = worker

    def is_inside(self, workers: Collection[object]) -> bool:
        """Return whether one of the workers is inside the critical block."""
        return self._inside is not None and self._inside in workers

    def leave(self) -> None:
        """Leave the critical block."""
        with self._changed:
            self._inside = None
            self._changed.notify_all()

    def _wait(self, condition: Callable[[], bool]) -> None:
        self._n_waiting += 1
        try:
            while not condition():
                if self.stopped:
                    raise Stopped
                self._changed.wait()
        finally:
            self._n_waiting -= 1
