"""The threads of one block; the caller is rank 0 and works as well.

Guarantees
    When a rank fails, the others stop at their next construct, or in the one where they wait, and
    `run_in_threads` returns or raises after the last one has ended.

Assumptions
    See `threads`: a thread cannot be killed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any

from sharedarray import config
from sharedarray.errors import StopProcessGroup
from sharedarray.openmp.meeting import Meeting
from sharedarray.openmp.team import exception_of
from sharedarray.workers.crew import NextClaim, Report
from sharedarray.workers.reports import Failure, Results, text_of_traceback
from sharedarray.workers.threads import ThreadCrew
from sharedarray.workers.worker import current_workers

__all__ = ["run_in_threads"]


def run_in_threads(meeting: Meeting, live: Callable[[int], Any]) -> list[Any]:
    """Return what ``live(rank)`` gives for each rank.

    Raises
    ------
    ParallelException
        If another rank than the caller has raised.
    BaseException
        What the caller has raised as rank 0.
    """
    contexts = [copy_context() for _ in range(meeting.n_ranks)]
    share = config.share_for(meeting.n_ranks)
    for context in contexts:
        context.run(config.inherit_share, share)

    def work(number: int, next_claim: NextClaim) -> Iterator[Report]:
        rank = number + 1
        try:
            yield Results(rank, [contexts[rank].run(live, rank)], 0.0, 0.0)
        except BaseException as error:  # the worker's boundary: the coordinator hears of anything
            others_failed = meeting.is_stopped or contexts[rank].run(_is_in_stopped_map)
            meeting.stop()
            if isinstance(error, StopProcessGroup) and others_failed:
                return
            yield Failure(error, text_of_traceback(error))

    crew = ThreadCrew(meeting.n_ranks - 1, meeting.stop)
    try:
        crew.start(work)
        return _gathered(crew, meeting, lambda: contexts[0].run(live, 0))
    finally:
        try:
            meeting.primitives.let_go()
        finally:
            try:
                crew.end()
            finally:
                crew.abandon()


def _gathered(crew: ThreadCrew, meeting: Meeting, live: Callable[[], Any]) -> list[Any]:
    """Be rank 0, then wait for the others."""
    results: dict[int, Any] = {}
    try:
        results[0] = live()
    except StopProcessGroup:
        if not meeting.is_stopped:  # of a map or block around this one, or the user's own
            raise
    while (received := crew.receive(None)) is not None:
        number, report = received
        if isinstance(report, Failure):
            raise exception_of(number + 1, report)
        results[number + 1] = report.values[0]
    if meeting.failure is not None:
        raise meeting.failure
    if len(results) < meeting.n_ranks:
        raise StopProcessGroup  # of the map around this block
    return [results[rank] for rank in range(meeting.n_ranks)]


def _is_in_stopped_map() -> bool:
    return any(worker.map.schedule.stopped for worker in current_workers())
