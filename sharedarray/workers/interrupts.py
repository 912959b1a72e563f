"""Ctrl-C, or any exception out of a handler of a signal, and how nothing is lost by it.

Python runs handlers in the main thread, after calls, at the begin of functions and in each round of
a loop: nearly every line may raise KeyboardInterrupt, and so may the lines that clean up after it.

Rejected
    *``with`` and ``finally`` alone.* An interrupt may come between ``fd = os.open(...)`` and the
    ``try``, and as `__exit__`, or a function called in ``finally``, begins: none of its lines runs.
    *The signal mask alone.* The kernel gives the signal to another thread, which may be one of
    BLAS, and Python runs the handler in the main thread all the same.
    *Finalizers* (`__del__`, callbacks of weakref). Python prints what is raised in one, and drops
    it: the Ctrl-C is lost.
    *A handler of our own that sets a flag.* The program's own handler would not run, and its code,
    or one long call of NumPy, does not look at flags.

Chosen
    *Held back*: `signals_blocked` around short passages that take or give back several things: a
    fork, the end of a crew, a descriptor that travels.
    *One call of C*: `call_into`, or `sharedarray.descriptor.opened`: taking one thing and noting it
    is a single step.
    *Noted, then taken*: a thing is in a list before it is taken, and the clean-up can tell whether
    it was (`ProcessCrew._members`, `limited_threads`).
    *Closed twice*: ``try: end()``, ``finally: end()``, in line, since an interrupt could skip a
    function for it. The second `end` does what the first has not, where a Ctrl-C has come before or
    within that.

Guarantees
    Every signal that comes within `signals_blocked` has its handler called afterwards, also where
    the handler of another one raises; and every handler that was set before is set again.

`tests/workers/faults/test_interrupt_everywhere.py` sends one at every place of these modules.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import starmap
from typing import Any, TypeVar

__all__ = ["block_handlers", "call_into", "signals_blocked"]

T = TypeVar("T")

# The signals that programs have handlers for, and that can wait for a moment. Not all there are: to
# ask for the handler of each takes 0.1 ms.
_SIGNALS = {
    getattr(signal, name)
    for name in (
        "SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP", "SIGCONT", "SIGCHLD", "SIGALRM",
        "SIGVTALRM", "SIGPROF", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGPIPE", "SIGIO", "SIGURG",
    )
    if hasattr(signal, name)
}  # fmt: skip


@contextmanager
def signals_blocked() -> Iterator[set[Any]]:
    """Let no handler of a signal run in this thread for the length of the block; then all do.

    Yields the signals that were blocked before. All threads block them; the main thread replaces
    their handlers by a note, too.
    """
    # Asked for first: the call that blocks them may raise what came before, and has blocked them.
    old = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    handlers: dict[Any, Any] = {}
    came: list[int] = []
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        if threading.current_thread() is threading.main_thread():
            for each in _SIGNALS:
                handler = signal.getsignal(each)
                if callable(handler):
                    handlers[each] = handler
                    signal.signal(each, lambda number, frame: came.append(number))
        yield old
    finally:
        try:
            try:
                _set_handlers(handlers)
            finally:
                _set_handlers(handlers)  # where one that was set again has raised meanwhile
            # All are blocked until the mask is as it was: none is lost by what another one raises.
            for number in came:
                signal.raise_signal(number)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _set_handlers(handlers: dict[Any, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def block_handlers() -> None:
    """Let no handler run in this thread any more: for a child that is about to end."""
    handled = {number for number in _SIGNALS if callable(signal.getsignal(number))}
    signal.pthread_sigmask(signal.SIG_BLOCK, handled)


def call_into(results: list[T], function: Callable[..., T], *args: Any) -> None:
    """Append what a function of C returns to a list, in one step for interrupts."""
    results.extend(starmap(function, [args]))
