"""The elements that each worker sorts, whatever the values: at most a tenth more than its part."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest

from sharedarray_ops.plan import Chunk
from sharedarray_ops.sort import quicksort as module
from sharedarray_ops.sort import sorting
from sharedarray_ops.sort.numbers import sort_numbers
from sharedarray_ops.sort.quicksort import Share, quicksort
from tests.ops.support import RecordingPool

N = 1 << 22
WORKERS = [2, 4, 8, 16, 64]
TOLERANCE = 1.10


def _tie_broken_zipf(rng: np.random.Generator) -> np.ndarray:
    return (np.minimum(rng.zipf(1.3, N), 1 << 30) << 32) + rng.permutation(N)


def _cluster_and_outliers(rng: np.random.Generator) -> np.ndarray:
    values = rng.permutation(N)
    far = rng.choice(N, N // 50, replace=False)
    values[far] = rng.integers(-(1 << 62), 1 << 62, far.size)
    return values


def _organ_pipe(rng: np.random.Generator) -> np.ndarray:
    return np.minimum(2 * np.arange(N), 2 * (N - np.arange(N)) - 1)


DISTINCT: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "normal": lambda rng: rng.standard_normal(N),
    "exponential": lambda rng: rng.exponential(size=N),
    "sorted": lambda rng: np.arange(N),
    "reversed": lambda rng: np.arange(N)[::-1].copy(),
    "organ_pipe": _organ_pipe,
    "zipf": _tie_broken_zipf,
    "cluster": _cluster_and_outliers,
}


@pytest.fixture(scope="module", params=DISTINCT)
def values(request):
    return DISTINCT[request.param](np.random.default_rng(5))


def most(sizes: Iterable[int], n_workers: int) -> int:
    """Return what the busiest worker has when the longest item goes first, to who is free."""
    loads = np.zeros(n_workers, int)
    for size in sorted(sizes, reverse=True):
        loads[loads.argmin()] += size
    return int(loads.max())


def sort_rounds(pool: RecordingPool) -> list[list[int]]:
    """Return the sizes of the shares of each map in which shares are sorted."""
    return [
        [share.stop - share.start for share in items]
        for items in pool.maps
        if items and isinstance(items[0], Share)
    ]


def excess(pool: RecordingPool) -> float:
    """Return by what the busiest worker of each round has more to sort than its part, in all."""
    rounds = sort_rounds(pool)
    n_elements = sum(map(sum, rounds))
    return sum(most(sizes, pool.np) for sizes in rounds) * pool.np / n_elements


@pytest.mark.parametrize("n_workers", WORKERS)
def test_sort(values, n_workers):
    pool = RecordingPool(n_workers)
    a = values.copy()

    if a.dtype.kind == "i":
        quicksort(a, pool)
    else:
        sort_numbers(a, pool)

    assert [sum(sizes) for sizes in sort_rounds(pool)] == [N]
    assert excess(pool) <= TOLERANCE
    assert (a[1:] >= a[:-1]).all()


@pytest.mark.parametrize("n_workers", WORKERS)
def test_argsort(values, n_workers):
    pool = RecordingPool(n_workers)
    order = np.empty(N, np.intp)

    sorting.argsort(values, order, pool)

    if values[0] == 0 and values[-1] == N - 1:  # in order: nothing is sorted
        assert not sort_rounds(pool)
    else:
        assert sum(sort_rounds(pool)[0]) == N
        assert excess(pool) <= TOLERANCE
    assert (np.diff(values[order]) > 0).all()


@pytest.mark.parametrize("n_workers", WORKERS)
def test_every_pass_over_the_elements_is_shared_out(n_workers):
    """Survey, packing and unpacking, too: no worker has a tenth more than its part of a pass."""
    pool = RecordingPool(n_workers)
    values = np.random.default_rng(0).standard_normal(N)

    sorting.argsort(values, np.empty(N, np.intp), pool)

    # Of a pass over several runs, an item says which one as well.
    passes = [[item if isinstance(item, Chunk) else item[-1] for item in m] for m in pool.maps if m]
    passes = [[part.size for part in parts] for parts in passes if isinstance(parts[0], Chunk)]
    whole = [sizes for sizes in passes if sum(sizes) == N]
    assert len(whole) >= 3
    for sizes in whole:
        # A pass has at most 4 chunks a worker, and these are whole blocks of 131,072 elements.
        assert most(sizes, n_workers) <= max(TOLERANCE * N / n_workers, 1 << 17)


def test_a_splitter_that_is_too_low_would_be_seen(monkeypatch):
    """The twin: without good splitters, the count of elements is far out."""

    def low(sample, n_workers):
        sample = np.sort(sample)
        return module.Splitter(sample[sample.size // 8], inclusive=False, crowded=False)

    monkeypatch.setattr(module, "choose_splitter", low)
    pool = RecordingPool(4)
    quicksort(np.random.default_rng(0).permutation(1 << 19), pool)
    assert excess(pool) > 1.5
