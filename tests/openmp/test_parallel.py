"""Each construct of Parallel works; the same body without the construct fails the check."""

from __future__ import annotations

import contextlib
import os

import numpy as np
import pytest

import sharedarray
from sharedarray.openmp.parallel import Parallel, Private, Reduction, Shared
from tests.openmp.blocks import each_kind, run, several
from tests.workers.support import BACKENDS
from tests.workers.synchronization import LIMIT, Event, Rendezvous

with_or_without = pytest.mark.parametrize("has_construct", [True, False])
nothing = contextlib.nullcontext()


# rank, num_threads


@each_kind
def test_body_runs_once_in_each_rank(backend, n):
    n_ranks = max(1, n)
    ran = sharedarray.zeros((n_ranks, 3), int)

    def body(p):
        ran[p.rank] += (1, p.num_threads, p.master)
        return p.rank

    p = Parallel(num_threads=n, backend=backend)
    assert p.run(body) == 0
    assert ran.tolist() == [[1, n_ranks, rank == 0] for rank in range(n_ranks)]


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_with_block_runs_in_processes_that_end_with_it(n):
    pids, after = sharedarray.zeros(max(1, n), int), sharedarray.zeros(1, int)
    for _ in range(2):
        with Parallel(num_threads=n) as p:
            pids[p.rank] = os.getpid()
        after[0] += 1
    assert len(set(pids.tolist())) == max(1, n)
    assert pids[0] == os.getpid()
    assert after[0] == 2


def test_decorated_function_runs_in_parallel():
    seen = sharedarray.zeros(3, int)

    @Parallel(num_threads=3, backend="thread")
    def work(p, factor, *, offset):
        seen[p.rank] = factor * p.rank + offset
        return factor

    assert work(2, offset=1) == 2
    assert seen.tolist() == [1, 3, 5]
    assert work.__name__ == "work"


def test_children_inherit_and_keep_what_they_assign():
    local = [0]
    found = sharedarray.zeros(2, int)
    with Parallel(num_threads=2) as p:
        local[0] += 10 + p.rank
        found[p.rank] = local[0]
    assert found.tolist() == [10, 11]
    assert local == [10]


def test_ranks_draw_different_random_numbers():
    drawn = sharedarray.zeros(3)
    with Parallel(num_threads=3) as p:
        drawn[p.rank] = np.random.random()  # noqa: NPY002 - the global generator is meant
    assert len(set(drawn.tolist())) == 3


# barrier, single, sections, master


@several
@with_or_without
def test_barrier(backend, n, has_construct):
    written, has_read = sharedarray.zeros(n, int), Event()
    seen = sharedarray.zeros(n, int)

    def body(p):
        if p.rank > 0:
            has_read.wait(0.1 if has_construct else LIMIT)  # times out where there is a barrier
        written[p.rank] = 1
        if has_construct:
            p.barrier()
        seen[p.rank] = written.sum()
        has_read.set()

    run((backend, n), body)
    assert (seen.tolist() == [n] * n) is has_construct


@pytest.mark.parametrize("n", [2, 3, 7])
@pytest.mark.parametrize("backend", BACKENDS)
def test_many_barriers_in_a_row(backend, n):
    phases, wrong = sharedarray.zeros(n, int), sharedarray.zeros(n, int)

    def body(p):
        for phase in range(1, 101):
            phases[p.rank] = phase
            p.barrier()
            wrong[p.rank] += (phases != phase).sum()
            p.barrier()

    run((backend, n), body)
    assert wrong.tolist() == [0] * n
    assert phases.tolist() == [100] * n


@each_kind
@with_or_without
def test_single(backend, n, has_construct):
    counts = sharedarray.zeros(3, int)

    def body(p):
        if not has_construct or p.single():
            with p.atomic:
                counts[0] += 1
        for _ in range(20):  # more than there are counters
            with p.single() as is_mine:
                if not has_construct or is_mine:
                    with p.atomic:
                        counts[1] += 1
            assert counts[1] % (1 if has_construct else max(1, n)) == 0
            p.barrier()
        if not has_construct or p.master:
            with p.atomic:
                counts[2] += 1

    run((backend, n), body)
    factor = 1 if has_construct else max(1, n)
    assert counts.tolist() == [factor, 20 * factor, factor]


@several
def test_all_meet_at_the_end_of_single(backend, n):
    beyond, met = Event(), sharedarray.zeros(1, int)

    def body(p):
        with p.single() as is_mine:
            if is_mine:
                met[0] = beyond.wait(0.2)
        beyond.set()

    run((backend, n), body)
    assert not met[0]


@each_kind
@with_or_without
def test_sections(backend, n, has_construct):
    counts = sharedarray.zeros(11, int)

    def body(p):
        def section(i):
            with p.atomic:
                counts[i] += 1

        sections = [lambda i=i: section(i) for i in range(11)]
        if has_construct:
            p.sections()
            p.sections(*sections)
            assert counts.tolist() == [1] * 11
        else:
            for each in sections:
                each()

    run((backend, n), body)
    assert counts.tolist() == [1 if has_construct else max(1, n)] * 11


@several
def test_sections_run_at_the_same_time(backend, n):
    one, two = Event(), Event()
    met = sharedarray.zeros(2, int)

    def first():
        one.set()
        met[0] = two.wait()

    def second():
        two.set()
        met[1] = one.wait()

    run((backend, n), lambda p: p.sections(first, second))
    assert met.tolist() == [1, 1]


# critical, atomic


def count_up(kind, block_of, patience=0.1):
    """Let each rank add 1 in a block, and wait there for the others, which come if they can."""
    counter, rendezvous = sharedarray.zeros(1, int), Rendezvous(2, patience)

    def body(p):
        with block_of(p):
            old = int(counter[0])
            rendezvous.wait()
            counter[0] = old + 1

    run(kind, body)
    return int(counter[0])


@pytest.mark.parametrize(
    "block_of", [lambda p: p.critical, lambda p: p.critical("x"), lambda p: p.atomic]
)
@each_kind
def test_one_rank_at_a_time_is_in_the_block(backend, n, block_of):
    assert count_up((backend, n), block_of) == max(1, n)


@pytest.mark.parametrize("block_of", [lambda p: nothing, lambda p: p.critical(f"of {p.rank}")])
@several
def test_without_the_block_or_by_another_name_updates_are_lost(backend, n, block_of):
    assert count_up((backend, n), block_of, LIMIT) < n


@several
def test_many_updates_in_critical_within_critical(backend, n):
    counter = sharedarray.zeros(2, int)

    def body(p):
        for _ in range(300):
            with p.critical:
                counter[0] += 1
                with p.atomic, p.critical("inner"):
                    counter[1] += 1

    run((backend, n), body)
    assert counter.tolist() == [300 * n] * 2


@several
def test_critical_is_free_again_after_an_exception(backend, n):
    def body(p):
        with contextlib.suppress(ValueError), p.critical:
            raise ValueError
        with p.critical:
            pass

    run((backend, n), body)


# Variables


@each_kind
@pytest.mark.parametrize("kind", [Reduction, Private, Shared])
def test_reduction_and_what_the_others_would_give(backend, n, kind):
    variables = kind(np.add, total=1000) if kind is Reduction else kind(total=1000)

    def body(p):
        for i in p.forloop(100):
            if kind is Shared:
                with p.atomic:
                    p.var.total += i
            else:
                p.var.total += i

    p = run((backend, n), body, variables)
    if n > 1:
        assert (int(p.var.total) == 1000 + 4950) is (kind is not Private)
    else:
        assert p.var.total == 1000 + 4950


@several
def test_private_is_a_copy_also_of_a_shared_array(backend, n):
    mine, shared = [0], sharedarray.zeros(2, int)

    def body(p):
        p.var.a.append(p.rank)
        p.var.b[0] += 1
        p.barrier()
        assert p.var.a == [0, p.rank]
        assert p.var.b.tolist() == [1, 0]
        p.var.b = None  # a private variable takes any value

    p = run((backend, n), body, Private(a=mine, b=shared))
    assert mine == [0]
    assert shared.tolist() == [0, 0]
    assert p.var.a == [0, 0]
    assert p.var.b is None


@several
def test_shared_is_seen_by_all_and_taken_as_it_is(backend, n):
    shared, private = sharedarray.zeros(n), np.zeros(n, np.int16)

    def body(p):
        p.var.a[p.rank] = p.rank
        p.var.b[p.rank] = p.rank
        p.barrier()
        assert p.var.b.tolist() == list(range(n))
        p.barrier()
        if p.master:
            p.var.b = 7  # written into the array

    p = run((backend, n), body, Shared(a=shared), Shared(b=private))
    assert p.var.a is shared
    assert shared.tolist() == list(range(n))
    assert private.tolist() == [0] * n
    assert (p.var.b.dtype, p.var.b.tolist()) == (np.int16, [7] * n)


def test_same_parallel_twice_starts_anew():
    p = Parallel(Reduction(np.add, n=1), Private(l=[]), num_threads=2)
    for _ in range(2):
        with p:
            p.var.n += 1
            p.var.l.append(p.rank)
        assert (p.var.n, p.var.l) == (3, [0])


# Examples


def test_rectangle_rule():
    n = 100_000
    with Parallel(Reduction(np.add, pi=0.0), num_threads=2) as p:
        for part in p.chunks(n, ("dynamic", 10_000)):
            x = (np.arange(part.start, part.stop) + 0.5) / n
            p.var.pi += (4 / (1 + x * x)).sum() / n
    assert abs(p.var.pi - np.pi) < 1e-9


def test_mandelbrot():
    def rows(y):
        c = np.linspace(-2, 1, 60) + 1j * y[:, np.newaxis]
        z, steps = np.zeros_like(c), np.zeros(c.shape, int)
        for _ in range(30):
            z = np.where(abs(z) <= 2, z * z + c, z)
            steps += abs(z) <= 2
        return steps

    y = np.linspace(-1, 1, 40)
    image = sharedarray.empty((40, 60), int)
    with Parallel(num_threads=2) as p:
        for part in p.chunks(40, "guided"):
            image[part] = rows(y[part])
    assert (image == rows(y)).all()
