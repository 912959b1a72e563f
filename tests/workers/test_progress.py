"""`progress`: how far a map is, told to a callable or shown by a bar."""

from __future__ import annotations

import sys
import time
import types
from itertools import count, islice

import pytest

from sharedarray import MapReduce, WorkerException
from tests.workers.support import each_backend
from tests.workers.synchronization import Tally, here


def run_map(pool, *args, **options):
    return pool.map(*args, **options)


def run_imap(pool, *args, **options):
    return list(pool.imap(*args, **options))


each_run = pytest.mark.parametrize("run", [run_map, run_imap])


def assert_counts(counts, n_items):
    assert counts == sorted(set(counts)), "counts grow"
    assert counts[-1:] == ([n_items] if n_items else [])
    assert all(type(n_done) is int and n_done > 0 for n_done in counts)


@each_run
@pytest.mark.parametrize("n_items", [0, 1, 50])
@pytest.mark.parametrize("chunksize", [None, 7])
def test_callable_gets_growing_counts_up_to_the_total(pool, run, n_items, chunksize):
    expected = list(range(n_items))
    for items in (range(n_items), iter(range(n_items))):
        counts = []
        assert run(pool, abs, items, chunksize=chunksize, progress=counts.append) == expected
        assert_counts(counts, n_items)


def test_callable_gets_a_count_for_each_claim(pool):
    counts = []
    pool.map(abs, range(20), chunksize=1, progress=counts.append)
    assert counts == list(range(1, 21))


def test_callable_runs_in_the_caller(pool):
    places = set()
    pool.map(abs, range(20), progress=lambda _: places.add(here()))
    assert places == {here()}


def test_results_are_reduced_before_they_are_counted(pool):
    log = []
    pool.map(
        abs,
        range(3),
        lambda _: log.append("reduced"),
        chunksize=1,
        progress=lambda n_done: log.append(n_done),
    )
    assert log == ["reduced", 1, "reduced", 2, "reduced", 3]


def test_imap_counts_what_was_taken(pool):
    counts = []
    results = pool.imap(abs, count(), chunksize=1, progress=counts.append)
    taken = list(islice(results, 5))
    results.close()
    assert taken == [0, 1, 2, 3, 4]
    assert counts in ([1, 2, 3, 4], [1, 2, 3, 4, 5])


def test_unordered_imap_counts_too(pool):
    counts = []
    results = pool.imap(abs, range(50), progress=counts.append, ordered=False)
    assert sorted(results) == list(range(50))
    assert_counts(counts, 50)


@pytest.mark.parametrize("progress", [None, False])
def test_no_progress(pool, progress):
    assert pool.map(abs, [-1], progress=progress) == [1]


@each_run
def test_exception_of_the_callable_comes_out_as_it_is(pool, run):
    error = KeyError("no bar")

    def report(n_done):
        if n_done > 3:
            raise error

    def work(i):
        started.note(i)
        time.sleep(0.001)  # work, or threads would do much of it before the caller has its turn

    started = Tally(100_000)
    with pytest.raises(KeyError) as caught:
        run(pool, work, range(100_000), chunksize=1, progress=report)
    assert caught.value is error
    assert started.n_done < 50_000, "the map goes on"
    assert pool.map(abs, [-1]) == [1]


def test_failing_item_leaves_the_count_behind(pool):
    counts = []
    with pytest.raises(WorkerException):
        pool.map(lambda i: 1 // (i - 5), range(10), chunksize=1, progress=counts.append)
    assert counts == list(range(1, len(counts) + 1))
    assert len(counts) < 10


@each_run
@pytest.mark.parametrize("progress", [1, "bar", 0.5, []])
def test_what_cannot_report_progress(pool, run, progress):
    started = Tally(3)
    for items in ([], range(3)):
        with pytest.raises(TypeError, match="progress"):
            run(pool, started.note, items, progress=progress)
    assert started.n_done == 0


# a bar


@pytest.fixture
def no_tqdm(monkeypatch):
    for name in ("tqdm", "tqdm.auto", "tqdm.std"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("no_tqdm")
@pytest.mark.parametrize("name", ["map", "imap"])
def test_bar_without_tqdm_names_what_to_install(pool, name):
    started = Tally(3)
    for items in ([], range(3)):
        with pytest.raises(ImportError, match=r"tqdm.*pip install.*\[progress\]"):
            getattr(pool, name)(started.note, items, progress=True)
    assert started.n_done == 0


@pytest.mark.usefixtures("no_tqdm")
def test_callable_needs_no_tqdm(pool):
    counts = []
    assert pool.map(abs, range(9), progress=counts.append) == list(range(9))
    assert_counts(counts, 9)


class Bar:
    """What a pool needs of `tqdm.auto.tqdm`, which counts in steps."""

    made: list[Bar]

    def __init__(self, iterable=None, *, total=None):
        assert iterable is None
        self.total = total
        self.n = 0
        self.steps = []
        self.is_open = True
        self.made.append(self)

    def update(self, n=1):
        assert self.is_open
        self.n += n
        self.steps.append(n)

    def close(self):
        self.is_open = False

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()


@pytest.fixture
def bars(monkeypatch):
    """Every bar that is shown during the test."""
    package, auto = types.ModuleType("tqdm"), types.ModuleType("tqdm.auto")
    package.auto = auto
    package.tqdm = auto.tqdm = type("tqdm", (Bar,), {"made": []})
    monkeypatch.setitem(sys.modules, "tqdm", package)
    monkeypatch.setitem(sys.modules, "tqdm.auto", auto)
    return auto.tqdm.made


@each_run
def test_bar_counts_the_items(pool, bars, run):
    assert run(pool, abs, range(100), progress=True) == list(range(100))
    (bar,) = bars
    assert (bar.total, bar.n, bar.is_open) == (100, 100, False)
    assert all(step > 0 for step in bar.steps)


@each_run
def test_bar_of_a_generator_has_no_total(pool, bars, run):
    assert run(pool, abs, iter(range(30)), progress=True) == list(range(30))
    (bar,) = bars
    assert (bar.total, bar.n, bar.is_open) == (None, 30, False)


@each_backend
def test_bar_is_shown_while_items_run(backend, bars):
    seen = []
    MapReduce(backend, 2).map(
        abs, range(20), lambda _: seen.append(bars[0].n), chunksize=1, progress=True
    )
    assert seen == list(range(20))


def test_bar_is_closed_when_a_map_fails(pool, bars):
    with pytest.raises(WorkerException):
        pool.map(lambda i: 1 // (i - 5), range(10), progress=True)
    (bar,) = bars
    assert not bar.is_open
    assert bar.n < 10


def test_bar_is_closed_with_the_iterator(pool, bars):
    results = pool.imap(abs, count(), progress=True)
    assert bars == []
    next(results)
    assert [bar.is_open for bar in bars] == [True]
    results.close()
    assert [bar.is_open for bar in bars] == [False]
