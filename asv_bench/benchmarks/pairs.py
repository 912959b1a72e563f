"""How many times as long one way to do some work takes as another, and how sure that is.

::

    ours, once | numpy ours | ours numpy | numpy ours | ...  until the median is known well enough
                 '--pair--'
                   '-> turn: calls that do not count, then calls of which the median does

The times of the two drift together with the machine's clock and its other load, so their ratio
within a pair is steadier than either; which is first alternates, so that a steady drift cancels.

A turn does not count what the other way has left: its caches, memory that the system has to find
again (some virtual machines give theirs back within seconds), and threads on one CPU (some kernels
leave those that wake up together there for 10 ms and more). So a ratio is that of work that goes
on, not of the first call after something else.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from report.surroundings import OtherLoad

PAIRS = 5  # that count, at least
ENOUGH = 0.03  # a spread that needs no more pairs
SECONDS = (1.0, 4.0)  # at least; and at most, as soon as there are enough pairs
SETTLING = 0.05  # seconds of a turn's calls that do not count, and of those that do
TURN = 0.1
LONG = 0.5  # seconds of a call that is a turn by itself
QUIET = 0.05  # of the CPUs: what other programs may take during a pair that counts


class Ratio(float):
    """A ratio with its spread.

    Attributes
    ----------
    spread : float
        By which part of the ratio another measurement may differ, up or down.
    """

    spread: float

    def __new__(cls, value: float, spread: float) -> Ratio:
        self = super().__new__(cls, value)
        self.spread = spread
        return self


def ratio(
    of_numpy: Callable[[], Any],
    ours: Callable[[], Any],
    prepare: Callable[[], Any] = lambda: None,
    n_pairs: int = PAIRS,
) -> Ratio:
    """Return how many times as long NumPy takes: the median over at least so many pairs.

    Pairs during which other programs took CPU time do not count, where there are enough without.

    More is better, which asv does not know: to `asv continuous` and `asv compare`, a ratio that has
    grown is worse. The configuration keeps ratios out of its list of regressions.
    """
    numpys, own = Way(of_numpy, prepare), Way(ours, prepare)
    own.call()
    pairs: list[tuple[float, float]] = []  # ratio, and the part of the CPUs that others took
    began = perf_counter()
    while True:
        load = OtherLoad()
        turns = {way: way.turn() for way in ((numpys, own) if len(pairs) % 2 else (own, numpys))}
        pairs.append((turns[numpys] / turns[own], load.cpus() / (os.cpu_count() or 1)))
        seconds = perf_counter() - began
        if len(pairs) < n_pairs or seconds < SECONDS[0]:
            continue
        found = median(undisturbed(pairs, n_pairs))
        if found.spread <= ENOUGH or seconds >= SECONDS[1]:
            return found


def undisturbed(pairs: Sequence[tuple[float, float]], n_pairs: int) -> list[float]:
    """Return the ratios without those that others have disturbed; all, where too few are left."""
    quiet = [value for value, others in pairs if others <= QUIET]
    return quiet if len(quiet) >= n_pairs else [value for value, _ in pairs]


def median(values: Sequence[float]) -> Ratio:
    """Return the median with half the width of the interval that it is in by 19 of 20.

    From the binomial distribution of how many values are below the true median, so nothing is
    assumed of theirs. Of less than six values it is their range, which is by less than 19 of 20.
    """
    ordered, middle = sorted(values), statistics.median(values)
    n_outside = max(0, math.floor(len(ordered) / 2 - math.sqrt(len(ordered))))
    width = ordered[-1 - n_outside] - ordered[n_outside]
    return Ratio(middle, width / 2 / middle)


class Way:
    """One of the two ways, with how long its shortest call took."""

    def __init__(self, work: Callable[[], Any], prepare: Callable[[], Any]) -> None:
        self._work = work
        self._prepare = prepare
        self._shortest = math.inf

    def call(self) -> float:
        """Return the seconds of a call; to prepare it, and to free its result, takes none."""
        self._prepare()
        began = perf_counter()
        result = self._work()
        seconds = perf_counter() - began
        del result
        self._shortest = min(self._shortest, seconds)
        return seconds

    def turn(self) -> float:
        """Return the seconds of a call, from as many as it takes."""
        if LONG <= self._shortest < math.inf:
            return self.call()
        settling = self._calls(SETTLING)
        # The first call of all may have been long for other reasons: the next one will tell.
        return settling[0] if settling[0] > 4 * LONG else statistics.median(self._calls(TURN))

    def _calls(self, at_least: float) -> list[float]:
        seconds = [self.call()]
        while sum(seconds) < at_least:
            seconds.append(self.call())
        return seconds
