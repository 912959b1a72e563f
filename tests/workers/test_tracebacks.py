"""What the caller is told of an item that fails: the worker's traceback, in every detail."""

from __future__ import annotations

import traceback

import pytest

from sharedarray import WorkerException
from tests.workers.support import WORKERS, run_script


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


def fail(error):
    raise error  # where fail() raises


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


def test_frames_of_the_work_function_stay_with_the_reason(sharing):
    with pytest.raises(WorkerException) as caught:
        sharing.map(failing_work, [5])
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

for backend in ("thread", "serial", "process"):
    pool = MapReduce(backend, 2)
    for error in (HostileStr(), HostileNotes("hostile"), HostileClass("hostile"), bad_syntax):
        try:
            pool.map(work, [error])
        except WorkerException as caught:
            assert caught.reason is error or backend == "process"
            assert type(caught.reason) is type(error)
            assert type(error).__name__ in str(caught)
            assert type(error).__name__ in caught.traceback
        assert pool.map(abs, [-1]) == [1]
        print(type(error).__name__)
"""


def test_reason_that_cannot_even_be_formatted(tmp_path):
    names = ["HostileStr", "HostileNotes", "HostileClass", "SyntaxError"]
    assert run_script(HOSTILE, tmp_path, limit=10).split() == names * 3
