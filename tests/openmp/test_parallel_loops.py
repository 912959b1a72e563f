"""Loops of Parallel: every item runs once, in order with `ordered`; ranks wait at the end."""

from __future__ import annotations

import numpy as np
import pytest

import sharedarray
from sharedarray.openmp.parallel import Parallel, Private
from tests.openmp.blocks import each_kind, run, several
from tests.workers.synchronization import LIMIT, Event, Log

SCHEDULES = ["static", ("static", 2), "dynamic", ("dynamic", 3), "guided", ("guided", 2)]


@each_kind
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_each_item_is_run_once(backend, n, schedule):
    lengths = (0, 1, 2, 3, 4, 101)
    counts = sharedarray.zeros((len(lengths), 101), int)
    slices = sharedarray.zeros((len(lengths), 101), int)

    def body(p):
        for which, length in enumerate(lengths):
            for item in p.forloop(range(length), schedule=schedule):
                with p.atomic:
                    counts[which, item] += 1
            for part in p.chunks(length, schedule):
                assert part.step is None
                with p.atomic:
                    slices[which, part] += 1

    run((backend, n), body)
    expected = [[int(i < length) for i in range(101)] for length in lengths]
    assert counts.tolist() == slices.tolist() == expected


@several
def test_without_sharing_out_each_item_is_run_by_all(backend, n):
    counts = sharedarray.zeros(10, int)

    def body(p):
        for item in range(10):
            with p.atomic:
                counts[item] += 1

    run((backend, n), body)
    assert counts.tolist() == [n] * 10


@pytest.mark.parametrize("schedule", ["dynamic", "guided", ("static", 1)])
def test_ten_thousand_claims_at_the_same_time(schedule):
    n_items = 20_011
    counts = sharedarray.zeros((3, n_items), np.int8)
    with Parallel(num_threads=3) as p:
        for item in p.forloop(n_items, schedule=schedule):
            counts[p.rank, item] += 1
    assert (counts.sum(axis=0) == 1).all()


def test_any_sequence_may_be_looped_over():
    words = ["a", "b", "c", "d"]
    with Parallel(Private(seen=()), num_threads=0) as p:
        for word in p.forloop(words):
            p.var.seen += (word,)
        for row in p.forloop(np.arange(4).reshape(2, 2), schedule="dynamic"):
            p.var.seen += (row.tolist(),)
        for pair in p.forloop(range(3, 5), words[:2]):
            p.var.seen += (pair,)
    pairs = [(3, "a"), (3, "b"), (4, "a"), (4, "b")]
    assert p.var.seen == (*words, [0, 1], [2, 3], *pairs)


@pytest.mark.parametrize("loop", ["forloop", "chunks", "sections"])
@pytest.mark.parametrize("nowait", [False, True])
@several
def test_ranks_meet_at_the_end_of_a_loop_unless_nowait(backend, n, loop, nowait):
    # Rank 0 may not have the first item; the rank that is not slow notes when it leaves the loop.
    beyond = Event()
    slow = sharedarray.zeros(2, int)  # whether a rank is slow; whether the other left before

    def work(p):
        with p.critical:
            is_slow, slow[0] = not slow[0], 1
        if is_slow:
            slow[1] = beyond.wait(LIMIT if nowait else 0.2)

    def body(p):
        if loop == "sections":
            p.sections(lambda: work(p), lambda: None, nowait=nowait)
        else:
            length = 2 if loop == "chunks" else range(2)
            for _ in getattr(p, loop)(length, schedule="dynamic", nowait=nowait):
                work(p)
        beyond.set()

    run((backend, n), body)
    assert slow.tolist() == [1, int(nowait)]


@several
def test_more_loops_without_waiting_than_there_are_counters(backend, n):
    counts = sharedarray.zeros((n, 50), int)

    def body(p):
        for number in range(50):
            for _ in p.forloop(7, schedule="dynamic", nowait=True):
                counts[p.rank, number] += 1

    run((backend, n), body)
    assert counts.sum(axis=0).tolist() == [7] * 50


# ordered


def order_of(kind, schedule, n_items, block_of, patience=0.1):
    """Return the order in which items pass a block; the first one is slow."""
    log, others_are_through = Log(), Event()

    def body(p):
        for item, ordered in p.forloop(n_items, schedule=schedule, ordered=True):
            if item == 0:
                others_are_through.wait(patience)
            if item % 5 == 3:  # leaves it out
                continue
            with block_of(p, ordered):
                log.append(item)
            if item > 0:
                others_are_through.set()

    run(kind, body)
    return list(log)


@each_kind
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_ordered_blocks_come_in_order(backend, n, schedule):
    expected = [item for item in range(23) if item % 5 != 3]
    assert order_of((backend, n), schedule, 23, lambda p, ordered: ordered) == expected
    assert order_of((backend, n), schedule, 23, lambda p, ordered: p.ordered) == expected


@several
def test_without_ordered_the_slow_item_comes_later(backend, n):
    order = order_of((backend, n), "dynamic", 23, lambda p, ordered: p.critical, LIMIT)
    assert sorted(order) == [item for item in range(23) if item % 5 != 3]
    assert order != sorted(order)


@several
def test_only_the_ordered_block_is_in_order(backend, n):
    last_is_begun, met = Event(), sharedarray.zeros(1, int)

    def body(p):
        for item, ordered in p.forloop(2, schedule=("static", 1), ordered=True):
            if item == 1:
                last_is_begun.set()
            elif item == 0:
                met[0] = last_is_begun.wait(10)
            with ordered:
                pass

    run((backend, n), body)
    assert met[0]


@several
def test_ordered_loops_one_after_the_other_without_waiting(backend, n):
    logs = [Log() for _ in range(10)]

    def body(p):
        for log in logs:
            for item, ordered in p.forloop(7, schedule="dynamic", ordered=True, nowait=True):
                with ordered:
                    log.append(item)

    run((backend, n), body)
    assert [list(log) for log in logs] == [list(range(7))] * 10
