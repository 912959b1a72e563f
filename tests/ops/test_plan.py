import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray_ops.plan import Chunk, blocks, chunks, exchanges, tree_leaves

# chunks and blocks


@given(
    start=st.integers(0, 1000),
    size=st.integers(0, 3000),
    n_chunks=st.integers(1, 50),
    align=st.integers(1, 200),
)
def test_chunks_cover_the_range_once_and_evenly(start, size, n_chunks, align):
    parts = chunks(start, start + size, n_chunks, align=align)

    covered = [i for part in parts for i in range(part.start, part.stop)]
    assert covered == list(range(start, start + size))
    assert len(parts) <= n_chunks
    assert all(part.size > 0 for part in parts)
    assert all((part.start - start) % align == 0 for part in parts)
    n_units = [-(-part.size // align) for part in parts]
    assert not parts or max(n_units) - min(n_units) <= 1


@pytest.mark.parametrize("align", [1, 7, 64])
def test_as_many_chunks_as_asked_for_where_there_is_enough(align):
    assert len(chunks(5, 5 + 12 * align, 12, align=align)) == 12
    assert len(chunks(5, 5 + 12 * align, 13, align=align)) == 12
    assert len(chunks(5, 6 + 12 * align, 13, align=align)) == 13


def test_no_chunks_of_an_empty_range():
    assert chunks(0, 0, 4) == []
    assert chunks(9, 9, 4, align=16) == []
    assert list(blocks(9, 9, 16)) == []


@given(start=st.integers(0, 1000), n=st.integers(0, 3000), size=st.integers(1, 500))
def test_blocks_cover_the_range_once(start, n, size):
    parts = list(blocks(start, start + n, size))

    assert [i for p in parts for i in range(p.start, p.stop)] == list(range(start, start + n))
    assert all(part.size == size for part in parts[:-1])
    assert all(0 < part.size <= size for part in parts)


def test_chunk_selects_its_elements():
    assert list(range(10))[Chunk(3, 6).slice] == [3, 4, 5]
    assert Chunk(3, 6).size == 3


# leaves of NumPy's tree


def numpy_tree(start: int, n: int, unit: int, depth: int) -> list[tuple[int, int]]:
    """Follow the recursion of NumPy's pairwise sum: n2 = n / 2; n2 -= n2 % unit."""
    if depth == 0:
        return [(start, start + n)]
    n2 = n // 2
    n2 -= n2 % unit
    return numpy_tree(start, n2, unit, depth - 1) + numpy_tree(start + n2, n - n2, unit, depth - 1)


@given(n=st.integers(0, 1 << 40), unit=st.sampled_from([4, 8]), depth=st.integers(0, 7))
def test_leaves_are_where_numpy_cuts(n, unit, depth):
    assert tree_leaves(n, unit, depth) == numpy_tree(0, n, unit, depth)


def pairwise(a: np.ndarray) -> np.floating:
    """Sum as NumPy does, written down from its algorithm: eight accumulators below 129 items."""
    n = a.size
    if n < 8:
        total = a.dtype.type(-0.0)
        for x in a:
            total = total + x
        return total
    if n <= 128:
        r = a[:8].copy()
        whole = n - n % 8
        for i in range(8, whole, 8):
            r += a[i : i + 8]
        total = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]))
        for x in a[whole:]:
            total = total + x
        return total
    n2 = n // 2
    n2 -= n2 % 8
    return pairwise(a[:n2]) + pairwise(a[n2:])


@pytest.mark.parametrize("n", [0, 7, 8, 128, 129, 1000, 4999, 10007])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_tree_is_the_one_of_the_numpy_that_is_installed(n, dtype):
    a = np.random.default_rng(n).standard_normal(n).astype(dtype)

    assert np.sum(a) == pairwise(a)


# exchanges


@st.composite
def partitioned_chunks(draw):
    start = draw(st.integers(0, 100))
    sizes = draw(st.lists(st.integers(0, 60), min_size=1, max_size=9))
    cuts = list(itertools.accumulate(sizes, initial=start))
    parts = [Chunk(a, b) for a, b in itertools.pairwise(cuts)]
    return parts, [draw(st.integers(0, part.size)) for part in parts]


@given(case=partitioned_chunks(), n_pieces=st.integers(1, 20), seed=st.integers(0, 99))
def test_exchanges_bring_all_low_elements_to_the_front(case, n_pieces, seed):
    parts, n_low = case
    start, stop = parts[0].start, parts[-1].stop
    is_low = np.zeros(stop, bool)
    for part, k in zip(parts, n_low, strict=True):
        is_low[part.start : part.start + k] = True
    ident = np.arange(stop)

    plan = exchanges(parts, n_low, n_pieces)
    np.random.default_rng(seed).shuffle(plan)
    touched = []
    for left, right, size in plan:
        assert size > 0
        touched += [*range(left, left + size), *range(right, right + size)]
        ident[left : left + size], ident[right : right + size] = (
            ident[right : right + size].copy(),
            ident[left : left + size].copy(),
        )

    assert len(touched) == len(set(touched))
    border = start + sum(n_low)
    assert is_low[ident[start:border]].all()
    assert not is_low[ident[border:stop]].any()
    assert sorted(ident) == list(range(stop))
    assert (ident[:start] == np.arange(start)).all()


@given(case=partitioned_chunks(), n_pieces=st.integers(1, 20))
def test_exchanges_move_nothing_in_vain_and_are_cut_evenly(case, n_pieces):
    parts, n_low = case
    border = parts[0].start + sum(n_low)
    low = [i for p, k in zip(parts, n_low, strict=True) for i in range(p.start, p.start + k)]
    n_misplaced = sum(i >= border for i in low)

    plan = exchanges(parts, n_low, n_pieces)

    assert sum(exchange.size for exchange in plan) == n_misplaced
    assert all(exchange.size <= -(-n_misplaced // n_pieces) for exchange in plan)
    assert len(plan) <= n_pieces + 2 * len(parts)
