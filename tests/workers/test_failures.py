"""What the caller learns of an item that fails, and what the other workers do."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
import traceback

import pytest

from sharedarray import MapReduce, WorkerException
from tests.workers.support import WORKERS, run_script


class CustomBaseError(BaseException):
    pass


class NeedsTwoError(Exception):
    def __init__(self, a, b):
        super().__init__("two")


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


ERRORS = [
    ValueError("v"),
    OSError(2, "gone"),
    KeyError(("a", 1)),
    StopIteration(3),
    StopAsyncIteration(),
    MemoryError(),
    NeedsTwoError(1, 2),
    SystemExit(3),
    SystemExit(0),
    SystemExit("message"),
    SystemExit(),
    GeneratorExit("g"),
    asyncio.CancelledError(),
    CustomBaseError("c"),
    WorkerException(ValueError("inner"), "inner traceback"),
    ExceptionGroup("many", [ValueError("first"), TypeError("second")]),
    BaseExceptionGroup("many", [KeyboardInterrupt(), TypeError("second")]),
    UnprintableError(),
]


def fail(error):
    raise error  # where fail() raises


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_whatever_an_item_raises_is_the_reason(pool, error):
    with pytest.raises(WorkerException) as caught:
        pool.map(lambda i: fail(error) if i == 3 else i, range(10))
    assert type(caught.value) is WorkerException
    assert caught.value.reason is error
    assert caught.value.__cause__ is error
    assert pool.map(abs, range(100)) == list(range(100))


def test_keyboard_interrupt_of_an_item_is_no_ctrl_c(threaded):
    error = KeyboardInterrupt()
    with pytest.raises(WorkerException) as caught:
        threaded.map(fail, [error])
    assert caught.value.reason is error


@pytest.mark.parametrize("code", [0, 1, 3, "msg", None])
def test_exit_code_is_kept(pool, code):
    with pytest.raises(WorkerException) as caught:
        pool.map(lambda _: sys.exit(code), [1])
    assert caught.value.reason.code == code


@pytest.mark.parametrize("k", [0, 4, 9])
@pytest.mark.parametrize("chunksize", [None, 1, 3, 100])
def test_any_item_may_fail(pool, k, chunksize):
    with pytest.raises(WorkerException) as caught:
        pool.map(lambda i: 1 // (i - k), range(10), chunksize=chunksize)
    assert isinstance(caught.value.reason, ZeroDivisionError)


def test_every_item_fails(pool):
    with pytest.raises(WorkerException) as caught:
        pool.map(lambda i: 1 // 0, range(100))
    assert isinstance(caught.value.reason, ZeroDivisionError)


# what the caller is told


def failing_work(item):
    return inner_call(item)


def inner_call(item):
    raise LookupError(f"no star {item}")  # the source line of inner_call


def assert_names_the_place(text, function, line_of):
    number = line_of.__code__.co_firstlineno + 1
    assert f'File "{__file__}", line {number}, in {function}' in text
    assert str(WORKERS) not in text, "frames of the pool are no business of the user"
    assert text.startswith("Traceback (most recent call last):")


def test_traceback_names_file_line_and_source(pool):
    with pytest.raises(WorkerException) as caught:
        pool.map(failing_work, [5])
    text = caught.value.traceback
    assert_names_the_place(text, "failing_work", failing_work)
    assert_names_the_place(text, "inner_call", inner_call)
    assert "# the source line of inner_call" in text
    assert text.rstrip().endswith("LookupError: no star 5")
    for word in ("LookupError: no star 5", "inner_call", __file__):
        assert word in str(caught.value)


def test_traceback_with_star(pool):
    with pytest.raises(WorkerException) as caught:
        pool.map(failing_work, [(5,)], star=True)
    assert_names_the_place(caught.value.traceback, "failing_work", failing_work)


class Failing:
    def __len__(self):
        return 1

    def __getitem__(self, i):
        raise LookupError("no item")


def test_traceback_of_getitem(pool):
    with pytest.raises(WorkerException) as caught:
        pool.map(abs, Failing())
    assert_names_the_place(caught.value.traceback, "__getitem__", Failing.__getitem__)


def test_traceback_of_a_builtin_function(pool):
    with pytest.raises(WorkerException) as caught:
        pool.map(len, [5])
    assert "TypeError: object of type 'int' has no len()" in caught.value.traceback


def test_traceback_tells_the_chain(pool):
    def work(_):
        try:
            raise KeyError("the cause")
        except KeyError as error:
            raise ValueError("the effect") from error

    with pytest.raises(WorkerException) as caught:
        pool.map(work, [1])
    text = caught.value.traceback
    assert "KeyError: 'the cause'" in text
    assert "direct cause" in text
    assert text.index("the cause") < text.index("the effect")


def test_traceback_tells_notes_and_groups(pool):
    def work(_):
        error = ExceptionGroup("many", [ValueError("first"), TypeError("second")])
        error.add_note("look at the sky")
        raise error

    with pytest.raises(WorkerException) as caught:
        pool.map(work, [1])
    for word in ("look at the sky", "ValueError: first", "TypeError: second"):
        assert word in caught.value.traceback


def test_frames_of_the_work_function_stay_with_the_reason(pool):
    with pytest.raises(WorkerException) as caught:
        pool.map(failing_work, [5])
    names = [frame.name for frame in traceback.extract_tb(caught.value.reason.__traceback__)]
    assert names[-2:] == ["failing_work", "inner_call"]


def test_reason_that_cannot_be_printed(pool):
    with pytest.raises(WorkerException) as caught:
        pool.map(fail, [UnprintableError()])
    assert "UnprintableError" in str(caught.value)
    assert "# where fail() raises" in caught.value.traceback


def test_deep_recursion(pool):
    def deeper(i):
        return deeper(i + 1)

    with pytest.raises(WorkerException) as caught:
        pool.map(deeper, [1])
    assert isinstance(caught.value.reason, RecursionError)
    assert len(caught.value.traceback) < 100_000
    assert pool.map(abs, [-1]) == [1]


def test_huge_message(pool):
    with pytest.raises(WorkerException) as caught:
        pool.map(lambda _: fail(ValueError("x" * 10_000_000)), [1])
    assert len(str(caught.value.reason)) == 10_000_000


# In a process of its own, because the formatting of pytest itself fails on such exceptions.
HOSTILE = """
class HostileStr(Exception):
    def __str__(self):
        raise SystemExit(7)

    __repr__ = __str__

class HostileNotes(Exception):
    @property
    def __notes__(self):
        raise ValueError("no notes")

class HostileClass(Exception):
    @property
    def __cause__(self):
        raise SystemExit(9)

bad_syntax = SyntaxError("bad")
bad_syntax.filename, bad_syntax.lineno, bad_syntax.offset, bad_syntax.text = "f", 1, 1, 5

def work(error):
    raise error

for backend in ("thread", "serial"):
    pool = MapReduce(backend, 2)
    for error in (HostileStr(), HostileNotes("hostile"), HostileClass("hostile"), bad_syntax):
        try:
            pool.map(work, [error])
        except WorkerException as caught:
            assert caught.reason is error
            assert type(error).__name__ in str(caught)
            assert type(error).__name__ in caught.traceback
        assert pool.map(abs, [-1]) == [1]
        print(type(error).__name__)
"""


def test_reason_that_cannot_even_be_formatted(tmp_path):
    names = ["HostileStr", "HostileNotes", "HostileClass", "SyntaxError"]
    assert run_script(HOSTILE, tmp_path, limit=10).split() == names * 2


# what the others do


@pytest.mark.parametrize("chunksize", [None, 1, 500])
def test_other_workers_stop_at_the_next_item(chunksize):
    def work(i):
        started.append(i)
        if i == 0:
            other_runs.wait(20)
            raise ValueError
        other_runs.set()
        time.sleep(0.005)  # work: all of it would take 5 seconds

    started, other_runs = [], threading.Event()
    began = time.perf_counter()
    with pytest.raises(WorkerException):
        MapReduce("thread", 2).map(work, range(1000), chunksize=chunksize)
    assert time.perf_counter() - began < 2
    assert len(started) < 100


def test_nobody_starts_an_item_while_reduce_keeps_the_coordinator():
    def work(i):
        started.append(i)
        if i == 1:
            in_reduce.wait(20)
            failing.set()
            raise ValueError
        if i > 1:
            failing.wait(20)
            time.sleep(0.001)  # work
        if len(started) > 60:
            too_many.set()

    def reduce(_):
        in_reduce.set()
        too_many.wait(0.3)  # in vain, where a failure stops the others at once

    started = []
    in_reduce, failing, too_many = threading.Event(), threading.Event(), threading.Event()
    with pytest.raises(WorkerException):
        MapReduce("thread", 2).map(work, range(1000), reduce, chunksize=1)
    assert not too_many.is_set()


def test_map_returns_after_the_last_worker_has_ended():
    def work(i):
        if i == 0:
            running.wait(20)
            raise ValueError
        running.set()
        time.sleep(0.05)  # work
        ended.append(i)

    running, ended = threading.Event(), []
    with pytest.raises(WorkerException):
        MapReduce("thread", 2).map(work, range(2))
    assert ended == [1]


def test_several_failures_give_one_exception():
    barrier = threading.Barrier(3)

    def work(i):
        barrier.wait(20)
        raise ValueError(i)

    with pytest.raises(WorkerException) as caught:
        MapReduce("thread", 3).map(work, range(3))
    assert caught.value.reason.args[0] in range(3)


def test_no_item_starts_after_map_has_raised(threaded):
    started = []

    def work(i):
        started.append(i)
        raise ValueError

    with pytest.raises(WorkerException):
        threaded.map(work, range(1000))
    n_started = len(started)
    with contextlib.suppress(WorkerException):
        threaded.map(fail, [ValueError()] * 100)
    assert len(started) == n_started <= threaded.np
