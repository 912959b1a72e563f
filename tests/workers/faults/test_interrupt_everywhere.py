"""Ctrl-C at every place of a map of processes where its coordinator can be interrupted."""

from __future__ import annotations

import os

import pytest

from tests.workers.faults.interrupter import run_everywhere
from tests.workers.faults.scripts import run_fault

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")


@pytest.mark.parametrize(
    ("surroundings", "items"),
    [("alone", "iter(range(2))"), ("beside another thread", "range(2)")],
)
def test_an_interrupt_leaves_nothing(tmp_path, surroundings, items):
    source = """
n_sent = at_every_place(lambda: pool.map(lambda i: i, eval(items), chunksize=1))
assert n_sent > 200, n_sent
check_reuse(pool)
"""
    run_everywhere(surroundings, f"items = {items!r}" + source, tmp_path)


def test_a_second_interrupt_leaves_nothing(tmp_path):
    # The first one arrives while the coordinator waits; the second one during its cleaning up.
    source = """
def trace_from(frame):
    # Go on with the second in the calls that are under way.
    while frame is not None:
        if frame.f_code.co_filename in FILES:
            frame.f_trace, frame.f_trace_opcodes = trace, True
        frame = frame.f_back
    sys.settrace(trace)

def trace(frame, event, arg):
    global n_left, where
    if frame.f_code.co_filename not in FILES:
        return None
    frame.f_trace_opcodes = True
    if event == "opcode":
        n_left -= frame.f_code.co_code[last.get(frame, 0)] in BOUNDARIES
        last[frame] = frame.f_lasti
        if n_left == 0:
            n_left = -1
            where = f"place {place}, {frame.f_code.co_qualname}, line {frame.f_lineno}"
            sys.settrace(None)
            send()
    return trace

def handler(number, frame):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    trace_from(frame)
    raise KeyboardInterrupt

def work(i):
    if i == 0:
        os.kill(os.getppid(), signal.SIGINT)
    while True:
        # Python looks for signals between its own steps: one that comes right before the system
        # call that waits is seen after it, at the next signal if nothing else happens.
        time.sleep(1)
        os.kill(os.getppid(), signal.SIGUSR1)

signal.signal(signal.SIGUSR1, lambda number, frame: None)
place = n_sent = 0
n_left = -1
while n_left < 0:
    place += 1
    n_left, last, where = place, {}, ""
    signal.signal(signal.SIGINT, handler)
    try:
        pool.map(work, range(2), chunksize=1)
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    last.clear()
    check(where)
assert place > 30, place
check_reuse(pool)
"""
    run_everywhere("alone", source, tmp_path)


def test_an_interrupt_while_signals_are_being_blocked_leaves_none_blocked(tmp_path):
    # The system call blocks them, and what Python calls afterwards is the handler of one that came
    # just before.
    source = """
import _signal, ctypes  # what `signal` calls, without Python between
from functools import partial
from operator import call

raise_in_c = partial(ctypes.CDLL(None)["raise"], int(signal.SIGINT))
real = _signal.pthread_sigmask

def pthread_sigmask(how, signals):
    global n_left
    n_left -= bool(signals) and how == signal.SIG_BLOCK
    if n_left or not signals:
        return real(how, signals)
    n_left = -1
    return list(map(call, [raise_in_c, partial(real, how, signals)]))[1]

pool = MapReduce(np=2)
with clean():
    k = n_left = 0
    while n_left <= 0:
        k += 1
        n_left = k
        _signal.pthread_sigmask = pthread_sigmask
        try:
            pool.map(abs, range(4))
        except KeyboardInterrupt:
            assert n_left < 0
        _signal.pthread_sigmask = real
        assert not real(signal.SIG_BLOCK, []), f"signals stay blocked, the {k}th time"
        assert not children()
    assert k > 2, k  # a map starts and ends
check_reuse(pool)
"""
    run_fault(source, tmp_path)
