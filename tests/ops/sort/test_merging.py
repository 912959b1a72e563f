"""What the tasks of a sample sort do: NumPy's stable sort, in three blocks of memory."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from sharedarray.workers.backend import ThreadBackend
from sharedarray.workers.mapreduce import MapReduce
from sharedarray_ops.pool import Caller
from sharedarray_ops.sort.columns import Direction
from sharedarray_ops.sort.merging import (
    MIN_PART,
    Indexed,
    merge,
    merge_index,
    sort_block,
    sort_block_index,
)

CALLER = Caller()
ASCENDING = Direction()
N_BLOCKS = 4


def blocks_of(a):
    starts = [a.size * k // N_BLOCKS for k in range(N_BLOCKS + 1)]
    return [a[i:j] for i, j in pairwise(starts)], starts[:-1]


def sorted_in_blocks(a, sort, direction=ASCENDING):
    blocks, starts = blocks_of(a)
    done = [sort(block, direction, CALLER) for block in blocks]
    return [b.ordered(CALLER) if isinstance(b, Indexed) else b for b in done], starts


def specials(n):
    """Return floats of equal values with different bits: zeros, NaN."""
    rng = np.random.default_rng(1)
    a = rng.integers(-2, 3, n).astype("f8")
    a[a == 0] = np.where(rng.random(np.count_nonzero(a == 0)) < 0.5, 0.0, -0.0)
    nan = rng.random(n) < 0.1
    a.view("u8")[nan] = 0x7FF8000000000000 + rng.integers(0, 1000, np.count_nonzero(nan))
    return a


@pytest.mark.parametrize("n", [1, N_BLOCKS - 1, 3 * MIN_PART - 1, 3 * MIN_PART, 3 * MIN_PART + 1])
@pytest.mark.parametrize("pool", [CALLER, MapReduce(ThreadBackend, 3)], ids=["caller", "threads"])
def test_merge_is_stable_to_the_bit(n, pool):
    a = specials(n)

    values = merge(sorted_in_blocks(a, sort_block)[0], ASCENDING, pool)
    index = merge_index(*sorted_in_blocks(a, sort_block_index), ASCENDING, pool)

    assert values.tobytes() == np.sort(a, kind="stable").tobytes()
    assert index.tolist() == np.argsort(a, kind="stable").tolist()


@pytest.mark.parametrize(
    "a",
    [
        specials(100_000)[::-1].astype(">f4"),
        np.random.default_rng(2).integers(0, 99, 70_001).astype("S2"),
        np.random.default_rng(2).integers(-9, 99, 70_001).astype("m8[s]"),
        np.zeros(70_001, "u1"),
    ],
    ids=lambda a: a.dtype.str,
)
def test_any_dtype_and_layout(a):
    values = merge(sorted_in_blocks(a, sort_block)[0], ASCENDING, CALLER)
    index = merge_index(*sorted_in_blocks(a, sort_block_index), ASCENDING, CALLER)

    assert values.dtype == a.dtype
    assert values.tobytes() == np.sort(a, kind="stable").tobytes()
    assert index.tolist() == np.argsort(a, kind="stable").tolist()


def test_descending_keeps_equal_elements_in_their_order():
    a = np.random.default_rng(3).integers(0, 9, 100_000)
    direction = Direction(descending=True)

    index = merge_index(*sorted_in_blocks(a, sort_block_index, direction), direction, CALLER)

    assert index.tolist() == np.argsort(-a, kind="stable").tolist()


def peak(task, inputs):
    """Return how many bytes a task has in memory at the most, its inputs included."""
    tracemalloc.start()
    try:
        result = task()
        return tracemalloc.get_traced_memory()[1] + sum(a.nbytes for a in inputs)
    finally:
        tracemalloc.stop()
        del result


def arrays(pieces):
    return [a for piece in pieces for a in piece if a is not None]


N = 4_000_000


@pytest.mark.parametrize(
    "a", [np.random.default_rng(5).random(N), specials(N)], ids=["random", "specials"]
)
def test_no_task_takes_more_than_three_blocks(a):
    limit = 3 * a.nbytes + (2 << 20)
    values, _ = sorted_in_blocks(a, sort_block)
    indexed, starts = sorted_in_blocks(a, sort_block_index)

    peaks = {
        "sort": peak(lambda: sort_block(a, ASCENDING, CALLER), [a]),
        "index": peak(lambda: sort_block_index(a, ASCENDING, CALLER), [a]),
        "gather": peak(lambda: sort_block_index(a, ASCENDING, CALLER).ordered(CALLER), [a]),
        "merge": peak(lambda: merge(values, ASCENDING, CALLER), arrays(values)),
        "merge index": peak(
            lambda: merge_index(indexed, starts, ASCENDING, CALLER), arrays(indexed)
        ),
    }

    assert {name: n for name, n in peaks.items() if n > limit} == {}
    assert peaks["index"] > 2.4 * a.nbytes  # so the measure measures
