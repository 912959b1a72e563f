r"""One forked child: how its parent forks, watches and ends it, and what it does first.

::

    parent                                      child
    ------                                      -----
    signals blocked
    flush, lock, fork ------------------------> close the parent's descriptors, default signal
    signals unblocked                           handlers, death pipe, signals unblocked
    poll(sentinel) ...                          work()
    reap                  <-------------------  flush, os._exit

Guarantees
    Nothing that the parent's caller wrote runs in the child but `work`: no code after the fork, no
    handler of a signal, no atexit function. A child dies with its parent, also when it is busy in
    native code: when the last write end of the death pipe is closed, the kernel kills the readers
    (``F_SETSIG``). A child is reaped once, by its own number; children of others are not touched.

Assumptions
    Forks of ours exclude each other (`_fork_lock`), so no child inherits what another fork has
    opened and not yet noted by `close_in_children`. A fork of the program itself may keep a copy of
    a descriptor: therefore a child is watched by its pidfd, not by the end of a socket.

Ownership
    `Process` owns the pidfd, the crew its `DeathPipe`.
"""

from __future__ import annotations

import errno
import gc
import io
import os
import select
import signal
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from sharedarray import forks
from sharedarray.descriptor import Descriptor, above_streams, opened, pipe
from sharedarray.errors import ForkInThreadsWarning
from sharedarray.lazy import load_for_workers
from sharedarray.workers.interrupts import call_into, signals_blocked

try:
    import fcntl
except ImportError:  # not on Windows, where there is no fork either
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "DeathPipe",
    "Process",
    "check_fork",
    "close_in_children",
    "flush_streams",
    "forking",
    "is_readable",
    "leave",
    "prepare_child",
    "run_child",
    "streams_kept",
]

_F_SETSIG = 10  # Linux; the fcntl module of Python 3.11 has no name for it

# See `close_in_children`. Not a WeakSet, whose callbacks are Python code: an interrupt in one is
# lost.
_to_close: set[weakref.ref[Any]] = set()
_fork_lock = threading.Lock()
# The signals that the forking thread had blocked before.
_mask: set[Any] = set()
# The buffers of the parent's standard streams, in its children: their end would flush them.
_old_buffers: list[Any] = []


def flush_streams(
    suppressed: tuple[type[BaseException], ...] = (AttributeError, OSError, ValueError),
) -> None:
    """Write out what the standard streams hold; by default they may be None, broken or closed."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(*suppressed):
            stream.flush()


def _renew_streams() -> None:
    """Give the standard streams new buffers: another thread may have locked the old ones."""
    for stream in (sys.stdout, sys.stderr):
        old = getattr(stream, "buffer", None)
        if type(stream) is not io.TextIOWrapper or type(old) is not io.BufferedWriter:
            continue  # not of Python's own making: nothing is known of its locks
        with suppress(OSError, ValueError, AttributeError):  # closed; a raw stream of another kind
            new = io.BufferedWriter(io.FileIO(old.raw.fileno(), "w", closefd=False))
            _old_buffers.append(old)
            # In place, since handlers of logging may hold the stream.
            stream.__init__(  # type: ignore[misc]
                new,
                encoding=stream.encoding,
                errors=stream.errors,
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            )


def check_fork() -> None:
    """Raise NotImplementedError where there is no fork, warn where other threads are running."""
    if not hasattr(os, "fork"):
        raise NotImplementedError(
            f"the platform {sys.platform!r} has no fork, which worker processes need: "
            "use MapReduceByThread"
        )
    if sys.version_info < (3, 12) or threading.active_count() == 1:
        return
    here = threading.current_thread()
    others = [each for each in threading.enumerate() if each is not here]
    # Idle threads of ours end before the fork.
    others = [each for each in others if not getattr(each, "is_idle", False)]
    if others:
        names = ", ".join(each.name for each in others[:3])
        warnings.warn(
            f"{len(others)} other threads ({names} ...) are running while workers are forked; a "
            "lock that one of them holds now stays locked in the workers. MapReduceByThread "
            "has no such limit",
            ForkInThreadsWarning,
            stacklevel=5,
        )


@contextmanager
def forking() -> Iterator[None]:
    """Exclude other forks of ours for the length of the block, and hold back signals."""
    load_for_workers()
    flush_streams()  # or parent and child would both write what they hold
    global _mask
    with signals_blocked() as mask, _fork_lock:
        _mask = mask
        yield


def close_in_children(thing: Any) -> None:
    """Have anything with a `close` method, as long as it lives, closed in all forked children."""
    _to_close.add(weakref.ref(thing, _to_close.discard))


class _ParentsDescriptor:
    """A descriptor that is closed in children."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.close = descriptor.close
        close_in_children(self)


@contextmanager
def streams_kept() -> Iterator[None]:
    """Let nothing of ours take the number of a standard stream that is closed.

    What native code, or a program that is started, writes to the stream would go there.
    """
    placeholders: list[_ParentsDescriptor] = []
    try:
        while (filler := opened(os.open, os.devnull, os.O_RDWR)) <= 2:
            placeholders.append(_ParentsDescriptor(filler))
        filler.close()
        yield
    finally:
        for placeholder in placeholders:
            placeholder.close()


class DeathPipe:
    """A pipe at whose end the kernel kills all children that have armed it."""

    def __init__(self) -> None:
        self._read, write = pipe()
        self._write = _ParentsDescriptor(write)

    def arm(self) -> None:
        """In the child: be killed by the kernel when no process has the write end any more."""
        with suppress(OSError, AttributeError):  # no /proc, not Linux: then the next report fails
            # An open file of its own, since the process to be killed is noted in it.
            path = f"/proc/self/fd/{self._read.number}"
            own = above_streams(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            fcntl.fcntl(own, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(own, _F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(own, fcntl.F_SETFL, os.O_NONBLOCK | fcntl.FASYNC)
            if is_readable(own, 0):  # the parent has died already
                os._exit(1)
        self._read.close()

    def close(self) -> None:
        """Kill the children."""
        self._read.close()
        self._write.close()


def is_readable(descriptor: int, seconds: float | None = None) -> bool:
    """Wait until a descriptor is readable, for at most so many seconds; return whether it is."""
    poll = select.poll()  # select.select takes no numbers above 1023
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if seconds is None else seconds * 1000))


class Process:
    """A child to be forked.

    Attributes
    ----------
    sentinel : int or None
        A descriptor that becomes readable at its end; None where the kernel has no pidfd.
    exitcode : int or None
        After `reap`: what it gave to `os._exit`, or ``-signal``; None where it is not known.
    is_reaped : bool
        Whether the kernel has forgotten it.
    """

    def __init__(self) -> None:
        self.exitcode: int | None = None
        self.is_reaped = False
        # Lists, filled by one call of C, see `interrupts`.
        self._pids: list[int] = []
        self._sentinels: list[Descriptor] = []

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._pids[0]

    @property
    def sentinel(self) -> int | None:
        """Return its pidfd, None also where a collection of garbage has closed it already."""
        number = self._sentinels[0].number if self._sentinels else -1
        return number if number >= 0 else None

    def fork(self) -> bool:
        """Fork it, within `forking`; return whether this process is the child.

        The child has to call `run_child`, or `prepare_child` first and `leave` at last. It must not
        exit the contexts of `forking`, which are its parent's.
        """
        parent = os.getpid()
        try:
            with _without_pythons_warning():
                call_into(self._pids, os.fork)
        except OSError as error:
            if error.errno == errno.ENOMEM:
                raise MemoryError("not enough memory to fork a worker") from error
            raise
        except BaseException:
            # On a Python that raises its warning after the fork, the child is here all the same.
            if os.getpid() == parent:
                raise
        if os.getpid() != parent:
            return True
        with suppress(AttributeError, OSError):  # an old kernel; or dead, and reaped by others
            self._sentinels.extend(map(Descriptor, map(os.pidfd_open, self._pids)))
        return False

    def ends_within(self, seconds: float) -> bool:
        """Wait at most so many seconds for its end; return whether it has ended."""
        if self.is_reaped:
            return True
        if self.sentinel is not None:
            return is_readable(self.sentinel, seconds)
        deadline = time.monotonic() + seconds
        while not (self.is_reaped or self._waited(os.WNOHANG)):
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.001)
        return True

    def kill(self) -> None:
        """Kill it."""
        if self.is_reaped or not self._pids:
            return
        with suppress(ProcessLookupError):
            if self.sentinel is not None:
                signal.pidfd_send_signal(self.sentinel, signal.SIGKILL)
            else:
                os.kill(self.pid, signal.SIGKILL)

    def reap(self) -> None:
        """Wait for its end, and have the kernel forget it; sets `exitcode`."""
        if self._pids and not self.is_reaped:
            self._waited(0)
        with signals_blocked():  # an interrupt in a finalizer would be lost
            self._sentinels.clear()

    def _waited(self, flags: int) -> bool:
        try:
            pid, status = os.waitpid(self.pid, flags)
        except ChildProcessError:  # SIGCHLD is ignored, or other code waits for all children
            self.is_reaped = True
            return True
        if pid:
            self.exitcode = os.waitstatus_to_exitcode(status)
            self.is_reaped = True
        return bool(pid)


@contextmanager
def _without_pythons_warning() -> Iterator[None]:
    """Hold back the warning of Python 3.12 and later: `check_fork` has given ours."""
    if sys.version_info < (3, 12):
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
        yield


def run_child(work: Callable[[], None], death_pipe: DeathPipe) -> NoReturn:
    """Run the child, which dies with the death pipe.

    If `work` raises, it ends with exit code 1 and a traceback on stderr.
    """
    exitcode = 1
    try:
        prepare_child(death_pipe)
        work()
        exitcode = 0
    except SystemExit as leaving:
        exitcode = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:  # the end of the process: nothing may reach the parent's frames
        with suppress(BaseException):
            sys.excepthook(*sys.exc_info())
    finally:
        leave(exitcode)


def leave(exitcode: int) -> NoReturn:
    """End a child, without what its parent has registered for an exit."""
    try:
        flush_streams((BaseException,))  # os._exit does not
    finally:
        os._exit(exitcode)


def prepare_child(death_pipe: DeathPipe) -> None:
    """Get rid of what belongs to the parent; signals are blocked until then."""
    gc.freeze()  # or a collection would write to, and so copy, every page with an object
    signal.set_wakeup_fd(-1)  # or signals would wake the parent's event loop
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    _renew_streams()
    death_pipe.arm()
    signal.pthread_sigmask(signal.SIG_SETMASK, _mask)


def _forget_parent() -> None:
    """Close what only the parent should have, in every forked child of this process."""
    global _fork_lock
    _fork_lock = threading.Lock()
    for reference in list(_to_close):
        thing = reference()
        if thing is not None:
            with suppress(OSError):
                thing.close()
    _to_close.clear()


forks.on_fork(in_child=_forget_parent)
