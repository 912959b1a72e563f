"""Misuse by one rank raises in it; blocks in maps, threads, forks and other blocks."""

from __future__ import annotations

import os
import sys

import pytest

import sharedarray
from sharedarray.errors import ParallelException
from sharedarray.openmp.parallel import Parallel, Private
from tests.openmp.blocks import failure_of
from tests.workers.support import each_backend


def in_loop(p, inner):
    for _ in p.forloop(p.num_threads):
        inner(p)


def in_critical(p, inner):
    with p.critical("name"):
        inner(p)


def left_by_break(p, inner):
    for _ in p.forloop(3 * p.num_threads):
        break
    inner(p)


@each_backend
@pytest.mark.parametrize("outer", [in_loop, in_critical, left_by_break])
@pytest.mark.parametrize(
    "inner",
    [
        lambda p: p.barrier(),
        lambda p: p.single(),
        lambda p: p.sections(),
        lambda p: p.chunks(3),
        lambda p: p.forloop(3),
    ],
)
def test_construct_within_another_one(backend, outer, inner):
    with pytest.raises(
        (RuntimeError, ParallelException), match=r"within p\.(forloop|critical\('n)"
    ):
        Parallel(num_threads=2, backend=backend).run(lambda p: outer(p, inner))


def test_loop_left_by_break_at_the_end():
    with pytest.raises(RuntimeError, match=r"the block was left within p\.forloop"):
        Parallel(num_threads=0).run(lambda p: left_by_break(p, lambda p: None))
    failure_of(lambda p: p.rank and left_by_break(p, lambda p: None), match="was left within")


@pytest.mark.parametrize("construct", ["critical", "atomic"])
def test_critical_within_itself(construct):
    def body(p):
        block = getattr(p, construct)
        with block, pytest.raises(RuntimeError, match="entered within"), block:
            pytest.fail("entered twice")
        with block:
            pass

    Parallel(num_threads=2).run(body)


def test_ordered_where_it_cannot_be():
    with Parallel(num_threads=0) as p:
        with pytest.raises(RuntimeError, match="ordered=True"):
            p.ordered  # noqa: B018 - it raises
        for item, ordered in p.forloop(2, ordered=True):
            with p.critical, pytest.raises(RuntimeError, match=r"within p\.critical"), ordered:
                pytest.fail("entered")
            with ordered:
                pass
            with pytest.raises(RuntimeError, match=f"twice by item {item}"), ordered:
                pytest.fail("entered twice")
        with pytest.raises(RuntimeError, match="after its item"), ordered:
            pytest.fail("entered")


def test_too_many_names():
    def body(p):
        for i in range(65):
            with p.critical(f"{i}"):
                pass

    with pytest.raises(RuntimeError, match="64 names"):
        Parallel(num_threads=0).run(body)


def test_constructs_outside_of_the_block():
    p = Parallel(Private(x=1), num_threads=2)
    for use in ("rank", "master", "var", "ordered"):
        with pytest.raises(RuntimeError, match=f"p.{use} belongs to the ranks"):
            getattr(p, use)
    with p:
        pass
    for use in (p.barrier, p.single, p.critical.__enter__, lambda: p.forloop(3)):
        with pytest.raises(RuntimeError, match="belongs to the ranks"):
            use()
    assert p.var.x == 1


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Parallel(num_threads=-1), ValueError),
        (lambda: Parallel(num_threads=1.5), TypeError),
        (lambda: Parallel(backend="gpu"), ValueError),
        (lambda: Parallel(backend=3), TypeError),
        (lambda: Parallel().run(3), TypeError),
        (lambda: Parallel(num_threads=0).run(lambda p: p.forloop()), TypeError),
        (lambda: Parallel(num_threads=0).run(lambda p: p.forloop(-1)), ValueError),
        (lambda: Parallel(num_threads=0).run(lambda p: p.forloop(1.5)), TypeError),
        (lambda: Parallel(num_threads=0).run(lambda p: p.forloop({1, 2})), TypeError),
        (lambda: Parallel(num_threads=0).run(lambda p: p.forloop(iter([1]))), TypeError),
        (lambda: Parallel(num_threads=0).run(lambda p: p.forloop(3, schedule="auto")), ValueError),
        (lambda: Parallel(num_threads=0).run(lambda p: p.chunks(-1)), ValueError),
        (lambda: Parallel(num_threads=0).run(lambda p: p.chunks(range(3))), TypeError),
        (lambda: Parallel(num_threads=0).run(lambda p: p.sections(3)), TypeError),
        (lambda: Parallel(num_threads=0).run(lambda p: p.critical(3)), TypeError),
    ],
)
def test_bad_arguments(make, error):
    with pytest.raises(error):
        make()


def test_with_block_cannot_run_in_threads():
    with pytest.raises(RuntimeError, match=r"p\.run\(body\)"), Parallel(backend="thread"):
        pytest.fail("the body runs")


@each_backend
def test_parallel_within_itself(backend):
    p = Parallel(num_threads=2, backend=backend)

    def body(p):
        with pytest.raises(RuntimeError, match="is running"):
            p.run(lambda p: None)

    p.run(body)
    p.run(body)


# Around the block


def test_debug_mode_runs_in_the_caller(fork_calls):
    sharedarray.set_debug(True)
    seen = []
    with Parallel(num_threads=4) as p:
        seen.append((p.rank, p.num_threads))
        p.barrier()
    with pytest.raises(ZeroDivisionError):
        Parallel(num_threads=4, backend="thread").run(lambda p: 1 // 0)
    assert seen == [(0, 1)]
    assert fork_calls == []


def test_platform_without_fork(monkeypatch):
    monkeypatch.delattr(os, "fork")
    monkeypatch.setattr(sys, "platform", "elsewhere")
    with pytest.raises(NotImplementedError, match="elsewhere"), Parallel(num_threads=2):
        pytest.fail("the body runs")
    assert Parallel(num_threads=2, backend="thread").run(lambda p: p.num_threads) == 2


@pytest.mark.parametrize("n_forks", [0, 1, 2])
def test_fork_that_fails(monkeypatch, n_forks):
    fork, calls = os.fork, []

    def failing():
        calls.append(1)
        if len(calls) > n_forks:
            raise BlockingIOError(11, "no more processes")
        return fork()

    monkeypatch.setattr(os, "fork", failing)
    p = Parallel(num_threads=4)
    with pytest.raises(BlockingIOError), p:
        pytest.fail("the body runs")
    monkeypatch.undo()
    assert p.run(lambda p: p.num_threads) == 4


def test_counters_without_memfd(monkeypatch):
    def refused(*args):
        raise OSError(38, "not here")

    monkeypatch.setattr(os, "memfd_create", refused)
    counts = sharedarray.zeros((2, 1000), int)
    with Parallel(num_threads=2) as p:
        for i in p.forloop(1000, schedule="dynamic"):
            counts[p.rank, i] += 1
    assert counts.sum(axis=0).tolist() == [1] * 1000


@each_backend
def test_block_in_a_block(backend):
    counts = sharedarray.zeros((2, 4), int)

    def body(p):
        with Parallel() as inner:  # this rank's share of the machine
            counts[p.rank, 3] += inner.num_threads
            inner.barrier()
        if backend == "process":
            with Parallel(num_threads=3) as inner:
                counts[p.rank, inner.rank] += 1
                inner.barrier()
        p.barrier()

    with sharedarray.num_workers(2):
        Parallel(num_threads=2, backend=backend).run(body)
    assert counts[:, 3].tolist() == [1, 1]
    assert backend == "thread" or (counts[:, :3] == 1).all()


def test_map_in_a_block():
    found = sharedarray.zeros(2, int)
    with Parallel(num_threads=2) as p:
        found[p.rank] = sum(sharedarray.MapReduce(np=2).map(abs, range(-5, 5)))
    assert found.tolist() == [25, 25]


def test_process_that_the_body_forks_is_no_rank():
    found = sharedarray.zeros(2, int)
    with Parallel(num_threads=2) as p:

        def work(_):
            try:
                p.barrier()
            except RuntimeError:
                return 1
            return 0

        found[p.rank] = sum(sharedarray.MapReduce(np=2).map(work, [0, 0]))
    assert found.tolist() == [2, 2]
