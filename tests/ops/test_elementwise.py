from itertools import product

import numpy as np

from sharedarray_ops import elementwise
from tests.ops.support import (
    RANKABLE,
    RecordingPool,
    UnorderedPool,
    assert_same_bits,
    canaries,
    each_pool,
    sample,
    small_sizes,
    strided,
    unaligned,
    unchanged,
)


@each_pool
def test_copy_keeps_every_bit(pool):
    with small_sizes():
        for dtype, n in product(RANKABLE, (0, 1, 2, 15, 16, 17, 127)):
            a = sample("bits", n, dtype)
            for source in (a, strided(a, 2), strided(a, -1), unaligned(a)):
                with canaries(n, dtype) as out, unchanged(source):
                    elementwise.copy(source, out, pool())
                    assert_same_bits(out, source)


@each_pool
def test_gather_takes_in_order(pool):
    rng = np.random.default_rng(0)
    with small_sizes():
        for dtype, n in product(RANKABLE, (0, 1, 2, 15, 16, 17, 127)):
            a = sample("bits", n, dtype)
            order = rng.permutation(n).astype(np.intp)
            for source in (a, strided(a, 3), strided(a, -1), unaligned(a)):
                with canaries(n, dtype) as out, unchanged(source, order):
                    elementwise.gather(source, order, out, pool())
                    assert_same_bits(out.view(f"V{a.itemsize}"), a.view(f"V{a.itemsize}")[order])


def test_copy_into_a_strided_output():
    a = sample("bits", 500, "f8")
    room = np.zeros(1500)

    with small_sizes():
        elementwise.copy(a, room[::-3], UnorderedPool(3))

    assert_same_bits(room[::-3], a)
    assert not room[0::3].any()
    assert not room[1::3].any()


def test_work_is_cut_for_the_workers_but_not_finer_than_a_chunk():
    for n, least, most in (
        (10, 1, 1),
        (elementwise.CHUNK, 1, 1),
        (100 * elementwise.CHUNK, 3, 100),
    ):
        a = np.empty(n, np.int8)
        copying, gathering = RecordingPool(3), RecordingPool(3)
        elementwise.copy(a, np.empty_like(a), copying)
        elementwise.gather(a, np.arange(n), np.empty_like(a), gathering)
        assert least <= copying.n_items[0] <= most
        assert least <= gathering.n_items[0] <= most
