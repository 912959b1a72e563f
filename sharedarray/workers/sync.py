"""What the workers of one map share: who takes which item, whose turn it is, who is inside.

::

    counter of items --claim--> worker --`with pool.ordered`--> turn, in item order
    coordinator     --grant-->         --`with pool.critical`--> one at a time

Guarantees
    Items are claimed in order, each one once. An item's turn comes when no earlier item can still
    want one: all of them were claimed before it, and each has left its ordered block or ended
    without one. A map stops with the map around it: its workers see that before their next item,
    and wake those who wait.

Assumptions
    See `primitives`. A worker that dies ends the map.

Ownership
    The mutex of the primitives guards the words. `pending` has one a worker: the first item of its
    claim, until no item of the claim can want a turn any more. Only the worker writes it, or the
    coordinator while the worker waits for a claim to be granted. The items of a claim lie in a row,
    so none of another claim can have its turn before the last one of it has passed.
"""

from __future__ import annotations

from collections.abc import Callable

from sharedarray.errors import StopProcessGroup
from sharedarray.workers.primitives import Primitives
from sharedarray.workers.worker import WorkerSchedule

__all__ = ["Schedule"]

# For a worker without an item: larger than any position.
NONE = (1 << 63) - 1

# The first words; after them, `pending` and `current` have one for each worker.
_CLAIMED, _STOPPED, _USES_ORDERED = range(3)
_PENDING = 3


class Schedule:
    """The state that the workers of one map share.

    Parameters
    ----------
    make : callable
        Makes the primitives from the numbers of workers and of words.
    n_workers : int
        Workers have ranks below this.
    n_items : int or None
        How many items `claim` gives out; None where the coordinator grants all claims.
    outer : WorkerSchedule, optional
        Of the map whose worker runs this map: where that one has stopped, so has this one.
    """

    def __init__(
        self,
        make: Callable[[int, int], Primitives],
        n_workers: int,
        n_items: int | None,
        outer: WorkerSchedule | None = None,
    ) -> None:
        self._n_workers = n_workers
        self._n_items = n_items or 0
        self.is_granted = n_items is None
        self._outer = outer
        self._primitives = make(n_workers, _PENDING + 2 * n_workers)
        self._words = self._primitives.words
        self._current = _PENDING + n_workers
        for word in range(_PENDING, len(self._words)):
            self._words[word] = NONE

    # The coordinator's side.

    def grant(self, rank: int, start: int) -> None:
        """Note that a worker without a claim is going to have one that starts here.

        Without the mutex: nobody's turn comes because of it, and no later item is granted yet.
        """
        self._words[_PENDING + rank] = start

    def stop(self) -> None:
        """Let no worker start another item, and wake those who wait here."""
        self._words[_STOPPED] = 1
        self._primitives.stop()

    @property
    def stopped(self) -> bool:
        """Return whether nobody may start another item."""
        return bool(self._words[_STOPPED]) or (self._outer is not None and self._outer.stopped)

    def item_of(self, rank: int) -> int | None:
        """Return the item that a worker runs, None where it runs none."""
        item = self._words[self._current + rank]
        return None if item == NONE else item

    def close(self) -> None:
        """Give back what the kernel keeps; all workers have ended."""
        self._words = list(self._words)  # an exception's frames may keep this object for long
        self._primitives.close()

    # The workers' side.

    @property
    def n_left(self) -> int:
        """Return how many items nobody has claimed yet."""
        return self._n_items - self._words[_CLAIMED]

    def claim(self, rank: int, size: int) -> tuple[int, int] | None:
        """Claim the next `size` items, or what is left; None at the end of the map."""
        with self._primitives:
            if self._words[_USES_ORDERED]:  # see `passed`
                self._primitives.wake()
            if self.stopped or not self.n_left:
                return None
            start = self._words[_CLAIMED]
            stop = start + min(size, self.n_left)
            self._words[_CLAIMED] = stop
            self._words[_PENDING + rank] = start
            return start, stop

    def starts(self, rank: int, item: int | None) -> None:
        """Note which item a worker runs, or whose result it sends; None for none."""
        self._words[self._current + rank] = NONE if item is None else item

    def passed(self, rank: int) -> None:
        """Note that no item of the worker's claim wants a turn any more."""
        if not self._words[_USES_ORDERED] and not self.is_granted:
            # Without the mutex, which costs more than a short item:
            # 1. here the flag is read; 2. the first one who waits sets it; 3. he looks at `pending`
            # and waits; 4. here `pending` is set, and nobody woken. But the next `claim` of this
            # worker, which follows at once, wakes all.
            self._words[_PENDING + rank] = NONE
            return
        with self._primitives:
            self._words[_PENDING + rank] = NONE
            self._primitives.wake()

    def await_turn(self, rank: int, item: int) -> None:
        """Wait until no earlier item can want a turn."""
        others = [_PENDING + r for r in range(self._n_workers) if r != rank]
        with self._primitives:
            self._words[_USES_ORDERED] = 1
            while not all(self._words[other] > item for other in others):
                if self.stopped:
                    raise StopProcessGroup
                self._primitives.wait(rank)

    def enter(self) -> None:
        """Wait until nobody is inside the critical block, then be."""
        self._primitives.enter(lambda: self.stopped)

    def leave(self) -> None:
        """Leave the critical block."""
        self._primitives.leave()

    def reaches_here(self) -> bool:
        """Return whether `await_turn` and `enter` work in this process."""
        return self._primitives.reaches_here()
