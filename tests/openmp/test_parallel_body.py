"""The body of a block: its random numbers, context, share of workers, variables."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import sharedarray
from sharedarray.openmp.parallel import Parallel, Private, Reduction, Shared
from tests.openmp.blocks import failure_of, run, several
from tests.workers.support import each_backend
from tests.workers.synchronization import Event


def test_ranks_draw_different_numbers():
    draw = np.random.random
    draw()  # the first draw seeds it: else each child would
    drawn = sharedarray.zeros(3)
    with Parallel(num_threads=3) as p:
        drawn[p.rank] = draw()
    assert len(set(drawn.tolist())) == 3


@each_backend
def test_each_rank_has_the_context_of_the_caller(backend):
    has_it = sharedarray.zeros(3, bool)

    def body(p):
        has_it[p.rank] = np.geterr()["divide"] == "raise"

    with np.errstate(divide="raise"):
        Parallel(num_threads=3, backend=backend).run(body)
    assert has_it.all()


def test_ranks_share_the_cores_their_threads_too():
    found = sharedarray.zeros((2, 2), int)
    with sharedarray.num_workers(6), Parallel(num_threads=2) as p:
        mine = found[p.rank]
        mine[0] = sharedarray.cpu_count()
        if p.rank:
            thread = threading.Thread(target=lambda: mine[1:].fill(sharedarray.cpu_count()))
            thread.start()
            thread.join()
    assert found.tolist() == [[3, 0], [3, 3]]


def test_reductions_are_combined_in_the_order_of_the_ranks():
    join = np.frompyfunc(lambda a, b: a + b, 2, 1, identity="")
    with Parallel(Reduction(join, text=np.array("x", object)), num_threads=3) as p:
        p.var.text += str(p.rank)
    assert p.var.text == "x012"


def test_reduction_by_a_function_of_objects_keeps_the_dtype():
    union = np.frompyfunc(lambda a, b: a | b, 2, 1, identity=0)
    with Parallel(Reduction(union, bits=np.array([8, 1])), num_threads=2) as p:
        p.var.bits |= 2 << p.rank
    assert p.var.bits.dtype == int
    assert p.var.bits.tolist() == [14, 7]


def test_reduction_that_does_not_pickle_is_told_by_its_rank():
    last = np.frompyfunc(lambda a, b: b, 2, 1, identity=0)
    p = Parallel(Reduction(last, lock=np.array(0, object)), num_threads=2)

    def body(p):
        if p.rank:
            p.var.lock = threading.Lock()

    with pytest.raises(sharedarray.ParallelException, match="What is reduced of rank 1 does not"):
        p.run(body)


def test_what_is_declared_is_a_copy():
    first, nested = np.zeros(2), [[0]]
    variables = Reduction(np.add, total=first), Private(nested=nested)
    first[:] = 7
    with Parallel(*variables, num_threads=0) as p:
        p.var.nested[0].append(1)
    assert p.var.total.tolist() == [0, 0]
    assert (nested, p.var.nested) == ([[0]], [[0, 1]])


def test_after_a_block_that_failed_there_are_no_variables_of_the_one_before():
    p = Parallel(Shared(n=0), num_threads=2)

    def body(p, fails):
        if fails and p.rank:
            raise ValueError

    p.run(body, False)
    assert p.var.n == 0
    with pytest.raises(sharedarray.ParallelException):
        p.run(body, True)
    with pytest.raises(RuntimeError, match="var belongs"):
        p.var  # noqa: B018 - it raises


@several
def test_what_follows_an_ordered_block_runs_beside_the_next_items(backend, n):
    next_has_passed, met = Event(), sharedarray.zeros(1, int)

    def body(p):
        for item, ordered in p.forloop(2, schedule=("static", 1), ordered=True):
            with ordered:
                pass
            if item == 0:
                met[0] = next_has_passed.wait(10)
            else:
                next_has_passed.set()

    run((backend, n), body)
    assert met[0]


def test_an_iterator_is_refused_for_what_it_is():
    with pytest.raises(TypeError, match="each rank would have an iterator"):
        Parallel(num_threads=0).run(lambda p: p.forloop(iter([1])))


@pytest.mark.parametrize("schedule", ["static", "dynamic", ("guided", 2), ("static", 1)])
def test_a_schedule_is_no_second_sequence(schedule):
    failure = failure_of(lambda p: p.rank and p.forloop(4, schedule))
    assert isinstance(failure.reason, TypeError)
    assert "schedule=" in str(failure.reason)


def test_two_strings_are_collapsed_all_the_same():
    with Parallel(num_threads=0) as p:
        found = list(p.forloop("ab", "xy"))
    assert found == [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]
