"""Handles of `background`: which process they belong to, and what becomes of dropped ones."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path

import pytest

from sharedarray import MapReduce, WorkerException
from sharedarray.workers.background import _running, background, background_by_thread
from tests.workers.clock import naps
from tests.workers.faults.harness import children
from tests.workers.support import run_script
from tests.workers.synchronization import Event
from tests.workers.test_background import SOON, each_start, until_done
from tests.workers.test_background_faults import SCRIPT

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")

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
    # The others have ended or are about to; those that have are gone with the next call.
    deadline = time.monotonic() + 20
    while children():
        assert background(abs, -1).wait() == 1
        assert time.monotonic() < deadline, f"left: {children()}"


def test_the_next_call_fetches_those_that_have_ended():
    call = background(abs, -5)
    (child,) = _running
    pid = child._members[0].process.pid
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert pid in children()  # a zombie: its outcome is not asked for yet
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
    assert any(not any(map(_is_alive, pids)) for _ in naps(SOON)), "a child lives on"


def _is_alive(pid):
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
