import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray_ops.sort import packing, sorting
from tests.ops.support import (
    DISTRIBUTIONS,
    POOLS,
    RANKABLE,
    BarePool,
    UnorderedPool,
    assert_same_bits,
    canaries,
    cases,
    each_pool,
    sample,
    small_sizes,
    strided,
    unaligned,
    unchanged,
)


def check(a, pool, expected=None):
    with canaries(a.size, np.intp) as out, unchanged(a):
        sorting.argsort(a, out, pool)
        assert_same_bits(out, np.argsort(a, kind="stable") if expected is None else expected)


@each_pool
@pytest.mark.parametrize("dtype", RANKABLE)
def test_equals_numpy(dtype, pool):
    with small_sizes():
        for distribution, n in cases(pool, (0, 1, 2, 3, 15, 16, 17, 63, 64, 65, 1009)):
            check(sample(distribution, n, dtype), pool())


@given(
    n=st.integers(0, 3000),
    dtype=st.sampled_from(RANKABLE),
    distribution=st.sampled_from(list(DISTRIBUTIONS)),
    n_workers=st.integers(1, 20),
    seed=st.integers(0, 1 << 20),
)
def test_any_size_and_number_of_workers(n, dtype, distribution, n_workers, seed):
    with small_sizes():
        check(sample(distribution, n, dtype, seed), UnorderedPool(n_workers, seed))


@given(
    n=st.integers(0, 1500),
    dtype=st.sampled_from(["f8", "i8", "u8", ">f8", "M8[s]"]),
    distribution=st.sampled_from(["bits", "cluster", "specials", "random", "zipf", "nan_heavy"]),
    n_bits=st.integers(3, 40),
    seed=st.integers(0, 1 << 20),
)
def test_many_rounds_of_refinement(n, dtype, distribution, n_bits, seed):
    """With 2**32 elements and more a rank may need several rounds: here, a few bits in each."""

    def below(cls, top, index_bits):
        return cls(top, max(0, top - min(n_bits, 64 - index_bits)), index_bits)

    with small_sizes() as patch:
        patch.setattr(packing.Field, "below", classmethod(below))
        check(sample(distribution, n, dtype, seed), UnorderedPool(3, seed))


@pytest.mark.parametrize("n_clusters", [1, 2, 3, 7])
@pytest.mark.parametrize("dtype", ["i8", "u8", "f8", "M8[us]", ">i8"])
def test_several_long_runs_at_once(dtype, n_clusters):
    """Runs that agree in their leading bits and are longer than a task; each has its own ties."""
    rng = np.random.default_rng(n_clusters)
    lows = rng.integers(0, 1 << 8, 400 * n_clusters)
    integers = lows + (np.arange(lows.size) % n_clusters) * (1 << 40)
    integers = np.concatenate([integers, [0, (1 << 62) + 12345]]).astype(np.int64)
    rng.shuffle(integers)
    a = integers.view(dtype.lstrip(">")).astype(dtype)

    with small_sizes():
        for pool in POOLS.values():
            check(a, pool(), np.argsort(integers, kind="stable"))


@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200])
def test_runs_of_each_length_around_block_and_long_run(length):
    """Runs of one length, at every alignment to the blocks, each descending in its lost bits."""
    n_runs = 1200 // length + 2
    i = np.arange(n_runs * length)
    integers = (i // length << 50) + (length - i % length)
    a = np.concatenate([[-(2**62)], integers, [2**62]])

    with small_sizes():
        for n_workers in (1, 3):
            check(a, UnorderedPool(n_workers))
            check(np.concatenate([a[5:], a[:5]]), UnorderedPool(n_workers))


@pytest.mark.parametrize("dtype", ["i8", "f8", "u1", ">f4", "M8[s]"])
def test_nearly_in_order(dtype):
    """One inversion, wherever it is: at the borders of blocks and chunks, too."""
    n = 150
    in_order = np.arange(n).view(dtype) if dtype == "M8[s]" else np.arange(n, dtype=dtype)
    with small_sizes():
        for pool in (UnorderedPool(1), UnorderedPool(3)):
            check(in_order, pool, np.arange(n))
            check(np.repeat(in_order[:5], 30), pool, np.arange(n))
            for i in range(n - 1):
                a = in_order.copy()
                a[i : i + 2] = a[i : i + 2][::-1].copy()
                expected = np.arange(n)
                expected[i : i + 2] = i + 1, i
                check(a, pool, expected)
            if dtype not in ("i8", "u1"):
                for i in range(n):
                    a = in_order.copy()
                    a[i] = "NaT" if dtype == "M8[s]" else np.nan
                    check(a, pool, np.append(np.delete(np.arange(n), i), i))


@pytest.mark.parametrize("dtype", RANKABLE)
def test_layout_does_not_matter(dtype):
    a = sample("few", 777, dtype)
    read_only = a.copy()
    read_only.flags.writeable = False
    expected = np.argsort(a, kind="stable")

    with small_sizes():
        for same in (read_only, strided(a, 3), strided(a, -1), strided(a, -2), unaligned(a)):
            check(same, UnorderedPool(3), expected)
        check(np.broadcast_to(a[:1], 500), UnorderedPool(3), np.arange(500))


@pytest.mark.parametrize("dtype", RANKABLE)
def test_ties_stay_in_input_order(dtype):
    """Proven without NumPy's argsort: the order of positions within each value, and a twin."""
    a = sample("zeros", 1500, dtype)
    if a.dtype.kind == "f":
        a[::7] = np.nan
        a[::14] = -np.nan
    out = np.empty(a.size, np.intp)

    with small_sizes():
        sorting.argsort(a, out, UnorderedPool(3, seed=5))
        twin = np.empty(2 * a.size, np.intp)
        sorting.argsort(np.concatenate([a, a]), twin, UnorderedPool(3, seed=5))

    assert np.array_equal(np.sort(out), np.arange(a.size))
    values = a[out]
    same = (values[1:] == values[:-1]) | (values[1:] != values[1:]) & (values[:-1] != values[:-1])
    assert (np.diff(out)[same] > 0).all()
    assert np.count_nonzero(~same) <= 4
    # Every element of the first half comes before its equal in the second half, in the same order.
    assert np.array_equal(twin[twin < a.size], out)
    assert np.array_equal(twin[twin >= a.size] - a.size, out)
    place = np.empty_like(twin)
    place[twin] = np.arange(twin.size)
    assert (place[: a.size] < place[a.size :]).all()


@pytest.mark.parametrize("dtype", ["f8", "i8", "u8", "f4", "M8[ns]"])
@pytest.mark.parametrize("distribution", ["bits", "zipf", "few"])
def test_with_the_real_sizes(dtype, distribution):
    check(sample(distribution, 300_007, dtype), POOLS["thread-2"]())


@pytest.mark.parametrize("delta", [-1, 0, 1])
def test_around_the_real_sizes(delta):
    for n in (packing.BLOCK + delta, 2 * packing.BLOCK + delta):
        check(sample("random", n, "f8"), UnorderedPool(3))


@pytest.mark.parametrize("n_clusters", [1, 2])
def test_long_runs_with_the_real_sizes(n_clusters):
    rng = np.random.default_rng(0)
    n = n_clusters * (packing.LONG_RUN + 5000)
    a = rng.integers(0, 1 << 17, n) + rng.integers(0, n_clusters, n) * (1 << 40)
    a[:2] = -(2**62), 2**62

    check(a, POOLS["thread-2"]())


def test_a_run_as_long_as_a_long_run_may_be():
    a = np.arange(packing.LONG_RUN + 4)[::-1] % 1000
    for n in (packing.LONG_RUN + 1, packing.LONG_RUN + 2, packing.LONG_RUN + 3):
        b = a[:n].copy()
        b[:2] = -(2**62), 2**62
        check(b, BarePool())


def test_bool_of_any_byte_is_ordered_as_numpy_does():
    a = np.random.default_rng(0).integers(0, 256, 5000, "u1").view("?")
    order = np.empty(a.size, np.intp)
    with small_sizes():
        sorting.argsort(a, order, UnorderedPool(3))
    assert_same_bits(order, np.argsort(a, kind="stable"))
