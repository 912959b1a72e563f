"""Handlers that are held back for a moment all run after it, and are all there again."""

from __future__ import annotations

from tests.workers.support import run_script

# Scripts, since handlers run in the main thread, and tests do not.
START = """
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from sharedarray.workers.interrupts import block_handlers, signals_blocked

NUMBERS = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1}
came = []
for number in NUMBERS - {signal.SIGINT}:
    signal.signal(number, lambda number, frame: came.append(number))
handlers = {number: signal.getsignal(number) for number in NUMBERS}

def check_settings():
    assert {number: signal.getsignal(number) for number in NUMBERS} == handlers
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
"""


def test_no_signal_is_lost_by_what_another_one_raises(tmp_path):
    source = """
other_thread = ThreadPoolExecutor(1)  # in which none is blocked
other_thread.submit(abs, 1).result()

def elsewhere(number):
    other_thread.submit(signal.raise_signal, number).result()

for send in signal.raise_signal, elsewhere:
    for order in permutations(NUMBERS):
        del came[:]
        try:
            with signals_blocked():
                for number in order:
                    send(number)
                assert not came
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("no interrupt")
        time.sleep(0)  # Python looks for signals
        assert sorted(came) == sorted(NUMBERS - {signal.SIGINT}), (send, order, came)
        check_settings()
"""
    run_script(START + source, tmp_path)


def test_every_handler_is_set_again_whatever_one_of_them_raises(tmp_path):
    source = """
real = signal.signal

def interrupted(number, handler):
    result = real(number, handler)
    if is_due and handler is signal.default_int_handler:
        is_due.clear()
        raise KeyboardInterrupt  # as if it had come right now
    return result

is_due = []
signal.signal = interrupted
try:
    with signals_blocked():
        is_due.append(True)
except KeyboardInterrupt:
    assert not is_due
else:
    raise AssertionError("no interrupt")
check_settings()
"""
    run_script(START + source, tmp_path)


def test_who_is_about_to_end_runs_no_handler_any_more(tmp_path):
    source = """
block_handlers()
for number in NUMBERS:
    signal.raise_signal(number)
assert not came
assert NUMBERS <= signal.sigpending()
os._exit(0)
"""
    run_script(START + source, tmp_path)
