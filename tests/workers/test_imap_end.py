"""The end of `imap`: its iterator exhausted, closed or dropped, or an exception out of it."""

from __future__ import annotations

import gc
import os
from itertools import count

import pytest

from sharedarray import MapReduce, WorkerException
from tests.workers.support import each_backend, run_script
from tests.workers.synchronization import Event, Tally, here

either_order = pytest.mark.parametrize("ordered", [True, False], ids=["ordered", "unordered"])


def square(x):
    return x * x


def children():
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def drop(results):
    results.clear()
    gc.collect()


ENDS = {"closed": lambda results: results[0].close(), "dropped": drop}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("sequence", [range(1000), count], ids=["sequence", "generator"])
def test_workers_end_with_the_iterator(forked, end, sequence):
    results = [forked.imap(square, sequence() if callable(sequence) else sequence, chunksize=1)]
    assert [next(results[0]), next(results[0])] == [0, 1]
    assert children()
    end(results)
    assert not children()
    assert forked.map(abs, [-1]) == [1]


@each_backend
@pytest.mark.parametrize("kept", ["results", "cycle = [results]; cycle.append(cycle); del cycle"])
def test_iterator_that_is_never_closed_does_not_keep_the_interpreter(tmp_path, backend, kept):
    script = f"""
from itertools import count
results = MapReduce({backend!r}, 2).imap(abs, count())
print(next(results))
{kept}
"""
    assert run_script(script, tmp_path, limit=10) == "0\n"


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_processes_end_in_the_middle_of_an_item(end):
    def work(i):
        if i:
            running.set()
            Event().wait()  # for ever, if nobody ends it
            ended.set()
        return i

    running, ended = Event(), Event()
    results = [MapReduce("process", 2).imap(work, range(10), chunksize=1)]
    assert next(results[0]) == 0
    running.wait()
    end(results)
    assert not children()
    assert not ended.is_set()


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_threads_stop_at_the_end_of_their_items(threaded, end):
    started = Tally(1000)
    results = [threaded.imap(started.note, range(1000), chunksize=1)]
    next(results[0])
    end(results)
    n_started = started.n_done
    assert threaded.map(abs, [-1] * 100) == [1] * 100
    assert started.n_done == n_started


def test_early_break(pool):
    for result in pool.imap(square, count()):
        if result > 400:
            break
    assert result == 441
    assert pool.map(abs, [-1]) == [1]


def test_generator_is_closed_with_the_iterator(pool):
    closed = []

    def generate():
        try:
            yield from count()
        finally:
            closed.append(here())

    results = pool.imap(square, generate())
    next(results)
    results.close()
    del results
    gc.collect()
    assert closed == [here()]


# exceptions


@either_order
def test_failing_item(pool, ordered):
    results = pool.imap(lambda i: 1 // (i - 3), range(10), chunksize=1, ordered=ordered)
    taken = []
    with pytest.raises(WorkerException) as caught:
        taken.extend(results)
    assert isinstance(caught.value.reason, ZeroDivisionError)
    assert len(taken) <= 9
    assert list(results) == []
    assert pool.map(abs, [-1]) == [1]


@pytest.mark.parametrize("pool", [MapReduce("serial"), MapReduce(np=0)])
def test_results_before_the_failing_item_are_given_in_the_serial_backend(pool):
    taken = []
    with pytest.raises(WorkerException):
        taken.extend(pool.imap(lambda i: 1 // (3 - i), range(10), chunksize=1))
    assert taken == [0, 0, 1]


@pytest.mark.parametrize("n", [0, 1, 50])
def test_exception_of_the_generator(pool, n):
    error = ValueError("by generator")

    def generate():
        yield from range(n)
        raise error

    taken = []
    with pytest.raises(ValueError, match="by generator") as caught:
        taken.extend(pool.imap(abs, generate()))
    assert caught.value is error
    assert taken == list(range(len(taken)))


def test_exception_of_the_consumer_ends_the_workers(pool):
    def consume():
        for result in pool.imap(square, count()):
            if result == 100:
                raise KeyError(result)

    with pytest.raises(KeyError):
        consume()
    gc.collect()
    assert not children()
    assert pool.map(abs, [-1]) == [1]
