"""The examples that users of sharedmem know, with our names."""

from __future__ import annotations

import re

import numpy as np
import pytest

import sharedarray
from sharedarray import MapReduce, MapReduceByThread

N_WORKERS = [0, 1, 3]


@pytest.fixture(params=[MapReduce, MapReduceByThread], ids=["processes", "threads"])
def make(request):
    return request.param


@pytest.mark.parametrize("n_workers", N_WORKERS)
def test_sum_of_a_large_array(make, n_workers):
    numbers = sharedarray.copy(np.random.default_rng(0).integers(0, 1000, 100_003))
    size = 4096
    total, n_done, progress = 0, 0, []

    with make(np=n_workers) as pool:

        def work(start):
            part = numbers[start : start + size]
            return int(part.sum()), len(part)

        def reduce(subtotal, n_items):
            nonlocal total, n_done
            total += subtotal
            n_done += n_items

        starts = range(0, len(numbers), size)
        pool.map(work, starts, reduce=reduce, progress=progress.append)

    assert (total, n_done) == (numbers.sum(), len(numbers))
    assert progress[-1] == len(starts)


TEXT = """
The sky above the port was clear, and the sea below the port was clear as the sky.
A ship came in; the ship went out. The sea did not care, and the sky did not care.
"""


@pytest.mark.parametrize("n_workers", N_WORKERS)
def test_word_count(make, n_workers):
    text = TEXT.lower()
    words = sorted(set(re.findall(r"[a-z]+", text)))
    counts = {}

    with make(np=n_workers) as pool:

        def work(word):
            return word, len(re.findall(rf"\b{word}\b", text))

        def reduce(word, n):
            counts[word] = n

        pool.map(work, words, reduce=reduce)

    expected = {}
    for word in re.findall(r"[a-z]+", text):
        expected[word] = expected.get(word, 0) + 1
    assert counts == expected
    assert counts["sky"] == 3


@pytest.mark.parametrize("n_workers", N_WORKERS)
def test_ordered_printing(make, n_workers, capfd):
    with make(np=n_workers) as pool:

        def work(i):
            name = f"star {i * i % 7}"
            with pool.ordered:
                print(i, name, flush=True)

        pool.map(work, range(30))

    expected = [f"{i} star {i * i % 7}" for i in range(30)]
    assert capfd.readouterr().out.splitlines() == expected


@pytest.mark.parametrize("n_workers", N_WORKERS)
def test_counter_in_a_critical_block(make, n_workers):
    counter = sharedarray.zeros((), int)

    with make(np=n_workers) as pool:

        def work(i):
            with pool.critical:
                counter[...] += i

        pool.map(work, range(1000))

    assert counter == 499_500


@pytest.mark.parametrize("n_workers", N_WORKERS)
def test_integral_by_the_rectangle_rule(make, n_workers):
    n_rectangles, n_chunks = 30_000, 10
    width = np.pi / n_rectangles
    middles = (np.arange(n_rectangles) + 0.5) * width
    areas = sharedarray.empty(n_rectangles)

    with make(np=n_workers) as pool:

        def work(chunk):
            areas[chunk::n_chunks] = np.sin(middles[chunk::n_chunks]) * width
            return float(areas[chunk::n_chunks].sum())

        partial = pool.map(work, range(n_chunks))

    np.testing.assert_array_equal(areas, np.sin(middles) * width)
    np.testing.assert_allclose(sum(partial), 2, rtol=1e-8)
    np.testing.assert_allclose(sharedarray.sum(areas), 2, rtol=1e-8)


@pytest.mark.parametrize("n_workers", N_WORKERS)
def test_local_storage_of_a_worker(make, n_workers):
    with make(np=n_workers) as pool:

        def work(i):
            pool.local.n_items = getattr(pool.local, "n_items", 0) + 1
            return pool.local.rank, pool.tls.n_items

        found = pool.map(work, range(50))

    last = dict(sorted(found))
    assert sum(last.values()) == 50
    assert set(last) <= set(range(max(1, n_workers)))


@pytest.mark.parametrize("n_workers", N_WORKERS)
def test_arrays_that_every_worker_fills(make, n_workers):
    like = np.zeros((20, 3), "f4")
    outputs = [
        sharedarray.empty((20, 3), "f4"),
        sharedarray.empty_like(like),
        sharedarray.full((20, 3), 9, "f4"),
        sharedarray.full_like(like, 9),
        sharedarray.copy(like),
    ]

    with make(np=n_workers) as pool:

        def work(i):
            for output in outputs:
                output[i] = i

        pool.map(work, range(20))

    expected = np.repeat(np.arange(20, dtype="f4"), 3).reshape(20, 3)
    for output in outputs:
        np.testing.assert_array_equal(output, expected, strict=True)
