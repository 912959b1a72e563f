"""`background` when something goes wrong: children that die, no room."""

from __future__ import annotations

import errno
import os
import signal
import sys
import warnings

import numpy as np
import pytest

from sharedarray import WorkerDied, WorkerException
from sharedarray.workers.background import background
from tests.workers.clock import within
from tests.workers.support import in_threads, run_script
from tests.workers.synchronization import Event
from tests.workers.test_background import SOON, until_done

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")

SCRIPT = "from sharedarray.workers.background import background, background_by_thread\n"


@pytest.fixture(params=["pidfd", "no pidfd"])
def sentinels(request, monkeypatch):
    if request.param == "no pidfd":
        monkeypatch.delattr(os, "pidfd_open")


# a child that dies


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSEGV])
def test_a_child_that_is_killed(sentinels, signum):
    call = background(lambda: os.kill(os.getpid(), signum))
    with within(SOON), pytest.raises(WorkerDied) as caught:
        call.wait()
    death = caught.value
    assert (death.signal, death.exitcode, death.items) == (signum, -signum, ())
    assert signum.name in str(death)
    with pytest.raises(WorkerDied) as again:
        call.wait()
    assert again.value is death is call.exception()
    assert call.done()
    assert not call.cancelled()


@pytest.mark.parametrize("code", [0, 1, 255])
def test_a_child_that_exits(sentinels, code):
    call = until_done(background(os._exit, code))
    with pytest.raises(WorkerDied) as caught:
        call.wait()
    assert caught.value.exitcode == code


def test_a_death_while_somebody_waits():
    started, go = Event(), Event()

    def work():
        started.set()
        go.wait()
        os.kill(os.getpid(), 9)

    def wait():
        with pytest.raises(WorkerDied):
            call.wait()

    call = background(work)
    in_threads(wait, wait, lambda: started.wait() and go.set())


def test_a_child_that_leaves_a_grandchild_with_its_socket(sentinels):
    ended = Event()

    def work():
        if os.fork() == 0:
            ended.wait()
            os._exit(0)
        os._exit(5)

    call = background(work)
    with within(SOON), pytest.raises(WorkerDied) as caught:
        call.wait()
    ended.set()
    assert caught.value.exitcode == 5


@pytest.mark.parametrize("comes_back", ["returns", "raises"])
def test_a_grandchild_that_comes_back_is_not_the_call(comes_back):
    def work():
        pid = os.fork()
        if pid == 0 and comes_back == "raises":
            raise ValueError("of the grandchild")
        if pid == 0:
            return "of the grandchild"
        os.waitpid(pid, 0)
        return "of the child"

    assert background(work).wait() == "of the child"


class Late:
    """Kills the process that has made it, at the end of that."""

    def __init__(self, pid):
        self.pid = pid

    def flush(self):
        if os.getpid() != self.pid:
            os.kill(os.getpid(), signal.SIGKILL)

    def write(self, text):
        return len(text)


def test_a_child_that_dies_after_its_result(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Late(os.getpid()))  # flushed before os._exit
    call = until_done(background(np.arange, 3))
    with pytest.warns(RuntimeWarning, match="the result is there, but .*SIGKILL"):
        assert call.wait().tolist() == [0, 1, 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert call.wait().tolist() == [0, 1, 2]


class Hostile:
    def __reduce__(self):
        return _refuse, (os.getpid(),)


def _refuse(pid):
    if os.getpid() != pid:
        raise ValueError("does not unpickle here")


def test_a_result_that_unpickles_only_where_it_was_made():
    call = background(Hostile)
    with pytest.raises(WorkerException) as caught:
        call.wait()
    assert type(caught.value.reason) is ValueError
    with pytest.raises(WorkerException):
        call.wait()


# no room


@pytest.mark.parametrize(
    ("number", "error"), [(errno.EAGAIN, BlockingIOError), (errno.ENOMEM, MemoryError)]
)
def test_a_fork_that_fails_leaves_nothing(monkeypatch, number, error):
    def fork():
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", fork)
        with pytest.raises(error):
            background(abs, -1)
    assert background(abs, -1).wait() == 1


def test_few_descriptors(tmp_path):
    run_script(
        SCRIPT
        + """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
calls, never = [], threading.Event()
try:
    while True:
        calls.append(background(never.wait))
except OSError as error:
    assert "open files" in str(error), error
assert len(calls) >= 5, len(calls)
assert all(call.cancel() for call in calls)
n_open = len(os.listdir("/proc/self/fd"))
assert [background(abs, -i).wait() for i in range(100)] == list(range(100))
assert len(os.listdir("/proc/self/fd")) <= n_open
# What has ended holds no descriptors, though nobody has waited yet.
calls = []
for i in range(100):
    calls.append(background(abs, -i))
    while not calls[-1].done():
        pass
assert [call.wait() for call in calls] == list(range(100))
""",
        tmp_path,
    )


def test_no_room_for_the_descriptors_of_an_array(tmp_path):
    run_script(
        SCRIPT
        + """
import resource
call = background(sharedarray.zeros, 1 << 20)
while call._child._members and not call._child._members[0].process.ends_within(1):
    pass
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
for _ in range(2):
    try:
        call.wait()
    except WorkerException as error:
        assert isinstance(error.reason, OSError), error
        assert "descriptors" in str(error) or "open files" in str(error), error
    else:
        raise AssertionError
resource.setrlimit(resource.RLIMIT_NOFILE, limits)
assert background(abs, -1).wait() == 1
""",
        tmp_path,
    )
