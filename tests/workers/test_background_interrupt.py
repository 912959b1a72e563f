"""Ctrl-C while a caller waits for `background`, and calls that are cancelled."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest

from sharedarray.workers.background import background
from tests.workers.faults.interrupter import run_everywhere
from tests.workers.support import end_script, start_script, until_asleep
from tests.workers.test_background_faults import SCRIPT

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")


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
            while not is_interrupted:
                time.sleep(0.01)  # it is on its way; one that comes just before a sleep is late
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
        until_asleep(process)
        process.send_signal(signal.SIGINT)
    out, err, code = end_script(process)
    assert (out, err, code) == ("done\n", "", 0)


def test_an_interrupt_locks_nothing(tmp_path):
    source = """
from sharedarray import background

FILES = {background.__code__.co_filename}
call = background(threading.Event().wait)

def look():
    assert not call.done()
    try:
        call.wait(0)
    except TimeoutError:
        pass

def check(where):
    assert not call._child._waiting.locked(), where
    assert not call._child._state.locked(), where

n_sent = at_every_place(look)
assert n_sent > 10, n_sent
assert call.cancel()
"""
    run_everywhere("alone", source, tmp_path)


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
