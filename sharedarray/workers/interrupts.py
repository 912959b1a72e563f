"""Handlers of signals, held back where an exception out of one would lose something.

Guarantees
    Every signal that comes meanwhile has its handler called afterwards, also where the handler of
    another one raises; and every handler that was set before is set again.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["block_handlers", "signals_blocked"]

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

    Blocking is not enough: the kernel gives the signal to another thread, which may be one of BLAS,
    and Python runs the handler in the main thread. There handlers are replaced by a note as well.

    Yields
    ------
    set
        The signals that were blocked before.
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
