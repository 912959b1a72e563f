"""What a coordinator needs of the workers of one map, on any backend."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from sharedarray.errors import WorkerException
from sharedarray.workers.reports import Claim, Failure, Results

__all__ = ["Crew", "NextClaim", "NothingYet", "Report", "SerialCrew", "Work", "worker_exception"]

Report = Results | Failure
# Waits for the claim that the coordinator grants; None after the last one.
NextClaim = Callable[[], Claim | None]
# What a worker does: yields its reports.
Work = Callable[[int, NextClaim], Iterator[Report]]


def worker_exception(failure: Failure) -> WorkerException:
    """Return what the caller of a map or a background call gets for a failure."""
    exception = WorkerException(failure.reason, failure.traceback)
    exception.__cause__ = failure.reason
    return exception


class NothingYet(Exception):  # noqa: N818 - it is no error
    """No report has come in time."""


class Crew(Protocol):
    """The workers of one map."""

    def start(self, work: Work) -> None:
        """Let every worker do ``work(rank, next_claim)``."""

    def receive(self, timeout: float | None) -> tuple[int, Report] | None:
        """Return the rank and the next report of a worker; None when all have ended.

        Raises
        ------
        NothingYet
            If there is none for `timeout` seconds.
        """

    def grant(self, rank: int, claim: Claim | None) -> None:
        """Give a worker its next claim; None ends its work."""

    def end(self) -> None:
        """End the workers, whatever they do, and wait for them; once more does nothing."""

    def abandon(self) -> None:
        """Do what must be done even if an interrupt has cut `end` short; by default nothing."""
        return


class SerialCrew(Crew):
    """The caller as the only worker: an item runs when its result is asked for."""

    def __init__(self) -> None:
        self._claims: deque[Claim | None] = deque()
        self._reports: Iterator[Report] = iter(())

    def start(self, work: Work) -> None:
        """Begin the work, without running anything."""
        self._reports = work(0, self._claims.popleft)

    def receive(self, timeout: float | None) -> tuple[int, Report] | None:
        """Run the items of the next claim."""
        if timeout is not None and timeout <= 0:
            raise NothingYet
        for report in self._reports:
            return 0, report
        return None

    def grant(self, rank: int, claim: Claim | None) -> None:
        """Take a claim."""
        self._claims.append(claim)

    def end(self) -> None:
        """Forget the work."""
        self._reports = iter(())
