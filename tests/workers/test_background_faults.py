"""`background` when something goes wrong: deaths, interrupts, handles that nobody keeps."""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from sharedarray import MapReduce, WorkerDied, WorkerException
from sharedarray.workers.background import background, background_by_thread
from sharedarray.workers.backgroundchild import _running
from tests.workers.faults.harness import children
from tests.workers.meeting import Event
from tests.workers.support import end_script, in_threads, run_script, start_script
from tests.workers.test_background import SOON, each_start, until_done

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
    began = time.monotonic()
    with pytest.raises(WorkerDied) as caught:
        call.wait()
    assert time.monotonic() - began < SOON
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
    began = time.monotonic()
    with pytest.raises(WorkerDied) as caught:
        call.wait()
    ended.set()
    assert time.monotonic() - began < SOON
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


# whose it is


@each_start
def test_another_process_may_not_wait(start):
    go = Event()
    call = start(go.wait)

    def ask(i):
        with pytest.raises(RuntimeError, match="belongs to the process"):
            call.wait() if i else call.exception(1)
        return call.done() if start is background_by_thread else None

    MapReduce(np=2).map(ask, range(2))
    go.set()
    assert call.wait() is True
    assert MapReduce(np=2).map(lambda i: call.wait(), range(2)) == [True, True]


@each_start
def test_a_handle_does_not_pickle(start):
    call = start(abs, -1)
    with pytest.raises(WorkerException, match="does not pickle"):
        MapReduce(np=1).map(lambda i: call, range(1))
    assert call.wait() == 1


def test_the_thread_that_started_it_may_end_first(tmp_path):
    # Such a child is killed where it dies with its parent's thread (PR_SET_PDEATHSIG).
    out = run_script(
        SCRIPT
        + """
warnings.simplefilter("ignore")
read, write = os.pipe()
calls = []
thread = threading.Thread(
    target=lambda: calls.append(background(lambda: os.read(read, 1)))
)
thread.start()
thread.join()
while os.path.exists(f"/proc/self/task/{thread.native_id}"):
    time.sleep(0)
os.write(write, b"x")
print(calls[0].wait(20))
""",
        tmp_path,
    )
    assert out == "b'x'\n"


# nobody waits


@each_start
def test_a_handle_that_is_dropped_warns(start):
    call = until_done(start(abs, -1))
    with pytest.warns(ResourceWarning, match="nobody has waited for the background call of abs"):
        del call


@each_start
@pytest.mark.parametrize("ask", ["wait", "result", "exception", "cancel"])
def test_whoever_was_asked_is_dropped_in_silence(start, ask):
    if ask == "cancel" and start is background_by_thread:
        pytest.skip("it cannot be cancelled")
    call = start(abs, -1)
    getattr(call, ask)()
    del call
    gc.collect()  # warnings are errors


def test_a_call_whose_handle_is_dropped_goes_on():
    go, ended = Event(), Event()
    with pytest.warns(ResourceWarning):
        background(lambda: go.wait() and ended.set())
    go.set()
    assert ended.wait()
    while _running:  # it is about to end, and the next call finds it
        assert background(abs, -1).wait() == 1


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_thousand_calls_leave_no_zombie():
    for i in range(1000):
        call = background(abs, -i)
        assert len(_running) < 100
    assert call.wait() == 999
    # The others have ended or are about to; who has ended is gone with the next call.
    deadline = time.monotonic() + 20
    while children():
        assert background(abs, -1).wait() == 1
        assert time.monotonic() < deadline, f"left: {children()}"


def test_the_next_call_fetches_those_that_have_ended():
    call = background(abs, -5)
    (child,) = _running
    pid = child._members[0].process.pid
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert pid in children()  # a zombie: nobody has asked yet
    assert background(abs, -7).wait() == 7
    assert not _running
    assert pid not in children()
    assert call.wait() == 5


def test_children_end_with_their_process(tmp_path):
    out = run_script(
        SCRIPT
        + """
warnings.simplefilter("ignore", ResourceWarning)
read, write = os.pipe()
never = threading.Event()
def work():
    os.write(1, f"{os.getpid()}\\n".encode())
    os.write(write, b"x")
    never.wait()
call = background(work)
background(work)
ended = background(abs, -1)
while not ended.done():
    pass
assert os.read(read, 1) + os.read(read, 1) == b"xx"
thread = background_by_thread(never.wait)
""",
        tmp_path,
    )
    pids = [int(pid) for pid in out.split()]
    assert len(pids) == 2
    deadline = time.monotonic() + SOON
    while any(Path(f"/proc/{pid}").exists() and _is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "a child lives on"


def _is_alive(pid):
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


# interrupts


def test_an_interrupt_ends_the_wait_and_not_the_child(tmp_path):
    process = start_script(
        SCRIPT
        + """
read, write = os.pipe()
call = background(lambda: os.read(read, 1))
thread_call = background_by_thread(os.read, read, 1)
for each in (call, thread_call, call):
    try:
        print("waiting", flush=True)
        each.wait()
    except KeyboardInterrupt:
        assert not each.done()
os.write(write, b"xx")
assert call.wait(20) == thread_call.wait(20) == b"x"
# At any moment: the result is not lost, and nothing stays locked.
def interrupt():
    os.read(read, 1)
    os.kill(os.getppid(), signal.SIGINT)
    return np.ones(100_000)
for i in range(60):
    call, results, is_interrupted = background(interrupt), [], False
    while not (results and is_interrupted):
        try:
            if not is_interrupted:
                os.write(write, b"x")
            if not results:
                results.append(call.wait(20).sum())
            if not is_interrupted:
                time.sleep(20)  # it is on its way
        except KeyboardInterrupt:
            is_interrupted = True
    assert results[0] == 100_000
# In the middle of reading the result.
parent = os.getpid()
def load():
    if os.getpid() == parent:
        os.kill(parent, signal.SIGINT)
    return "loaded"
class Result:
    def __reduce__(self):
        return load, ()
call = background(Result)
try:
    raise AssertionError(call.wait(20))
except KeyboardInterrupt:
    assert call.wait(20) == "loaded"
print("done")
""",
        tmp_path,
    )
    for _ in range(3):
        assert process.stdout.readline() == "waiting\n"
        # Until it sleeps in the wait, and not before.
        deadline = time.monotonic() + 20
        while ") S " not in Path(f"/proc/{process.pid}/stat").read_text():
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGINT)
    out, err, code = end_script(process)
    assert (out, err, code) == ("done\n", "", 0)


def test_cancel_at_any_moment():
    # Either the call was cancelled or its result is there: never both, never neither.
    rng = np.random.default_rng(8)
    n_cancelled = 0
    for delay in rng.uniform(0, 0.004, 100):
        call = background(np.ones, 20_000)
        until = time.monotonic() + delay
        while time.monotonic() < until:
            pass
        if call.cancel():
            n_cancelled += 1
            assert type(_caught(call)) is not np.ndarray
        else:
            assert call.wait().sum() == 20_000
    assert n_cancelled > 0


def _caught(call):
    try:
        return call.wait()
    except BaseException as error:
        return error
