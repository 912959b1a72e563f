"""`trace`: which worker ran which items, and when."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from sharedarray import MapReduce, WorkerException
from tests.workers.support import POOLS, each_backend, make_pool
from tests.workers.synchronization import Barrier, here

each_kind = pytest.mark.parametrize("kind", POOLS, ids=lambda kind: f"{kind[0]}-{kind[1]}")


def run_map(pool, *args, **options):
    pool.map(*args, **options)


def run_imap(pool, *args, **options):
    list(pool.imap(*args, **options))


def traced(kind):
    spans = []
    return make_pool(kind, trace=spans.append), spans


@each_kind
@pytest.mark.parametrize("run", [run_map, run_imap])
@pytest.mark.parametrize("chunksize", [None, 3])
@pytest.mark.parametrize("n_items", [1, 7, 50])
def test_every_item_is_in_one_span(kind, run, n_items, chunksize):
    for items in (range(n_items), iter(range(n_items))):
        pool, spans = traced(kind)
        run(pool, abs, items, chunksize=chunksize)
        ran = [item for span in spans for item in range(span[1], span[2])]
        assert sorted(ran) == list(range(n_items))
        if chunksize is not None:
            cuts = range(0, n_items, chunksize)
            expected = [(i, min(i + chunksize, n_items)) for i in cuts]
            assert sorted((start, stop) for _, start, stop, _, _ in spans) == expected


@each_kind
def test_times_are_those_of_the_map(kind):
    def work(_):
        time.sleep(0.002)  # work

    pool, spans = traced(kind)
    began = time.perf_counter()
    pool.map(work, range(10), chunksize=1)
    ended = time.perf_counter()
    for span in spans:
        assert began < span.began
        assert span.began + 0.002 <= span.ended < ended


@each_kind
def test_claims_of_a_worker_do_not_overlap(kind):
    pool, spans = traced(kind)
    pool.map(abs, range(200), chunksize=3)
    for rank in range(max(1, pool.np)):
        own = sorted((span.began, span.ended) for span in spans if span.rank == rank)
        assert all(a[1] <= b[0] for a, b in pairwise(own))


@each_backend
def test_claims_of_workers_overlap(backend):
    # The twin: all three run at the same time.
    barrier, spans = Barrier(3), []
    MapReduce(backend, 3, trace=spans.append).map(lambda _: barrier.wait(), range(3), chunksize=1)
    assert max(span.began for span in spans) < min(span.ended for span in spans)


@each_kind
def test_rank_is_that_of_the_worker(kind):
    pool, spans = traced(kind)
    ranks = pool.map(lambda _: pool.local.rank, range(100))
    for rank, start, stop, _, _ in spans:
        assert ranks[start:stop] == [rank] * (stop - start)


@each_kind
def test_trace_is_called_in_the_caller_before_the_results_are_given(kind):
    log = []
    pool = make_pool(kind, trace=lambda span: log.append((span.start, here())))
    pool.map(abs, range(5), log.append, chunksize=1)
    assert {place for entry in log if isinstance(entry, tuple) for place in entry[1:]} == {here()}
    for item in range(5):
        assert log.index((item, here())) < log.index(item)


def test_span_is_a_tuple_with_names():
    pool, spans = traced(("serial", None))
    pool.map(abs, range(3), chunksize=3)
    ((rank, start, stop, began, ended),) = spans
    (span,) = spans
    assert (rank, start, stop) == (span.rank, span.start, span.stop) == (0, 0, 3)
    assert (began, ended) == (span.began, span.ended)


@each_kind
def test_items_that_fail_leave_no_span(kind):
    pool, spans = traced(kind)
    with pytest.raises(WorkerException):
        pool.map(lambda i: 1 // (i - 3), range(10), chunksize=1)
    assert 3 not in {span.start for span in spans}
    with pytest.raises(WorkerException):
        pool.map(lambda i: 1 // 0, range(10))
    assert all(span.start != 3 for span in spans)


@each_kind
def test_exception_of_trace_comes_out_as_it_is(kind):
    error = KeyError("no trace")

    def trace(span):
        raise error

    pool = make_pool(kind, trace=trace)
    with pytest.raises(KeyError) as caught:
        pool.map(abs, range(10))
    assert caught.value is error
    assert make_pool(kind).map(abs, [-1]) == [1]


def test_nothing_to_do_leaves_no_span(pool):
    traced_pool, spans = traced(("process", 2))
    assert traced_pool.map(abs, []) == []
    assert pool.trace is None
    assert spans == []


@pytest.mark.parametrize("trace", [3, "spans", []])
def test_trace_must_be_callable(trace):
    with pytest.raises(TypeError, match="trace"):
        MapReduce(trace=trace)
