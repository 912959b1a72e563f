"""The numbers in the docstring: the plan of a large argsort, walked through without any data."""

from __future__ import annotations

from collections import Counter, defaultdict

import dask.array as da
import numpy as np
import pytest

from sharedarray.cluster import dask_sort
from sharedarray.functions.sorting import argsort
from sharedarray_ops.sort.columns import Direction
from sharedarray_ops.sort.samplesort import (
    SAMPLES,
    exact_rounds,
    narrowed,
    positions,
    targets_of,
    whole_blocks,
)

N = 125_000_000_000
N_WORKERS = 100
VALUE, POSITION, INDEX = 8, 4, 8  # bytes
GB = 10**9


def plan(n_blocks):
    """Return the tasks of an argsort by kind, and how much memory the largest one takes."""
    size = N // n_blocks
    x = argsort(da.zeros(N, chunks=size))
    graph = x.dask.layers[x.name]
    kinds = defaultdict(list)
    for (name, *numbers), task in graph.items():
        kinds[name.split("-")[1]].append((numbers, task))
    return kinds, x.chunks[0]


def worker_of(block, n_blocks):
    return block * N_WORKERS // n_blocks


def moved_nbytes(kinds, n_blocks):
    """Return how many bytes of pieces go from one worker to another."""
    nbytes = N // n_blocks // n_blocks * (VALUE + POSITION)
    journeys = [
        numbers
        for numbers, _ in kinds["piece"]
        if worker_of(numbers[0], n_blocks) != worker_of(numbers[1], n_blocks)
    ]
    return len(journeys) * nbytes


def worker_nbytes(n_blocks):
    """Return how much a worker has at the most, if it fetches all pieces as soon as they are there.

    All workers are at the same task at any time, and each task at what it takes at the most.
    """
    block = N // n_blocks
    n_own = n_blocks // N_WORKERS
    ordered, task = block * (VALUE + POSITION), 3 * block * INDEX
    sorting = [done * ordered + task for done in range(n_own)]
    cutting = [n_own * ordered + ordered for _ in range(n_own)]
    merging = []
    for done in range(n_own):
        left = (n_own - done) * ordered  # its own pieces that others wait for
        fetched = left * (N_WORKERS - 1) // N_WORKERS
        merging.append(left + fetched + done * block * INDEX + (task - ordered))
    return max(*sorting, *cutting, *merging)


@pytest.mark.parametrize("n_blocks", [200, 500])
def test_docstring_has_the_numbers_of_the_plan(n_blocks):
    kinds, sizes = plan(n_blocks)
    n_tasks = sum(map(len, kinds.values()))
    n_rounds = exact_rounds(N, n_blocks - 1, n_blocks)
    counts = Counter({kind: len(tasks) for kind, tasks in kinds.items()})
    n_samples = max(SAMPLES, (n_blocks - 1) * 64 * (2 * n_blocks + 1))
    said = dask_sort.__doc__

    assert set(sizes) == {N // n_blocks}
    assert counts["piece"] == n_blocks**2
    assert counts["ordered"] == counts["argsort"] == n_blocks
    assert counts["samples"] == n_rounds * n_blocks
    for fact in (
        f"{n_blocks} of {N * VALUE // n_blocks // GB} GB",
        f"{n_tasks:,}",
        f"{n_rounds}, {n_samples * VALUE / 10**6:.0f} MB",
        f"{moved_nbytes(kinds, n_blocks) / 10**12:.3f} TB",
        f"{3 * N * INDEX // n_blocks / GB:.0f} GB",
        f"{worker_nbytes(n_blocks) / GB:.1f} GB",
    ):
        assert fact in said


def test_rounds_are_enough_for_so_many_elements():
    # Blocks of numbers that are known without being there: block k has k, k + 97, k + 2 * 97, ...
    n_blocks = 97
    size = N // n_blocks
    brackets, targets = whole_blocks([size] * n_blocks), targets_of([size] * n_blocks)
    for _ in range(exact_rounds(size * n_blocks, len(targets), n_blocks)):
        samples = [positions(brackets, k) * n_blocks + k for k in range(n_blocks)]
        assert sum(sample.nbytes for sample in samples) < 256 << 20
        brackets = narrowed(brackets, samples, targets, Direction())

    assert brackets.low.tolist() == brackets.high.tolist()
    n_below = (np.array(targets)[:, np.newaxis] - np.arange(n_blocks) - 1) // n_blocks + 1
    assert (brackets.low == n_below).all()
