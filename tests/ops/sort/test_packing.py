"""Words of key bits and an index: packed, sorted, unpacked, refined."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray_ops.plan import Chunk, blocks
from sharedarray_ops.sort import packing
from sharedarray_ops.sort.columns import Key, columns_of, survey
from sharedarray_ops.sort.packing import Field, pack, refine, repack, run_start, unpack
from sharedarray_ops.sort.quicksort import Splitter
from tests.functions.wide_support import ALL, wide_sample
from tests.ops.support import assert_same_bits, canaries, sample, small_sizes

NAMES = ["i8", "f8", ">u4", "c16", "S16", "U4", "g", "numbers", "nested", "V23"]


def key_of(a):
    columns = columns_of(a)
    return Key.of(columns, survey(columns, Chunk(0, a.size)))


def field_of(key, n, n_bits=64):
    """Return the field below the top that has at most `n_bits` bits of key."""
    index_bits = max(1, (n - 1).bit_length())
    field = Field.below(key.n_bits, index_bits)
    return field._replace(shift=max(field.shift, field.top - n_bits))


def test_field():
    assert Field.below(10, 20) == Field(10, 0, 20)
    assert Field.below(44, 20) == Field(44, 0, 20)
    assert Field.below(45, 20) == Field(45, 1, 20)
    assert Field.below(300, 33) == Field(300, 269, 33)
    assert Field.below(64, 1).index_mask == 1
    assert Field.below(64, 33).index_mask == (1 << 33) - 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("start", [0, 5, 64])
def test_words_are_key_bits_and_indices(name, start):
    a = wide_sample("bits", 300, name)
    key = key_of(a)
    field = field_of(key, 300)
    with small_sizes(), canaries(300, np.uint64) as words:
        words[:] = 99
        assert pack(key, words, Chunk(start, 290), field) == []
        assert (words[:start] == 99).all()
        assert (words[290:] == 99).all()
        expected = np.empty(300, np.uint64)
        key.write(slice(0, 300), field.top, field.shift, expected)
        assert np.array_equal(words[start:290] >> np.uint64(field.index_bits), expected[start:290])
        assert np.array_equal(words[start:290] & field.index_mask, np.arange(start, 290))


def test_with_a_splitter_every_block_is_partitioned():
    a = sample("random", 300, "i8")
    key = key_of(a)
    field = field_of(key, 300)
    words, packed = np.empty(300, np.uint64), np.empty(300, np.uint64)
    with small_sizes():
        pack(key, words, Chunk(0, 300), field)
        splitter = Splitter(np.sort(words)[100], inclusive=False, crowded=False)
        n_low = pack(key, packed, Chunk(0, 300), field, splitter)
        parts = list(blocks(0, 300, packing.BLOCK))
    assert sum(n_low) == 100
    for (i, j), k in zip(parts, n_low, strict=True):
        assert (packed[i : i + k] < splitter.value).all()
        assert (packed[i + k : j] >= splitter.value).all()
        assert np.array_equal(np.sort(packed[i:j]), np.sort(words[i:j]))


def test_every_part_is_touched_once_before_it_is_written_to():
    key = key_of(sample("random", 300, "i8"))
    words = np.full(300, 99, np.uint64)
    touched = []

    def touch(part):
        assert (part == 99).all()
        touched.append(part.size)

    with small_sizes():
        pack(key, words, Chunk(0, 300), field_of(key, 300), touch=touch)
    assert sum(touched) == 300


@pytest.mark.parametrize("name", NAMES)
def test_repack_indices(name):
    a = wide_sample("few", 300, name)
    key = key_of(a)
    field = field_of(key, 300)
    order = np.random.default_rng(0).permutation(300)
    words, expected = order.astype(np.uint64), np.empty(300, np.uint64)
    with small_sizes():
        repack(key, words, Chunk(10, 290), field)
        pack(key, expected, Chunk(0, 300), field)
    assert np.array_equal(words[10:290], expected[order[10:290]])
    assert np.array_equal(words[:10], order[:10])
    assert np.array_equal(words[290:], order[290:])


def test_run_start():
    field = Field(4, 0, 8)
    bits = np.array([0, 0, 0, 1, 3, 3, 3, 3, 9], np.uint64)
    words = bits << np.uint64(8) | np.arange(9, dtype=np.uint64)[::-1] % np.uint64(3)
    words.sort()
    assert [run_start(words, i, field) for i in range(9)] == [0, 0, 0, 3, 4, 4, 4, 4, 8]


@given(
    n=st.integers(2, 700),
    name=st.sampled_from(NAMES),
    distribution=st.sampled_from(["few", "bits", "low_end", "sorted", "zipf", "blocks"]),
    n_bits=st.integers(1, 64),
    seed=st.integers(0, 1 << 20),
)
def test_unpack(n, name, distribution, n_bits, seed):
    """Indices in the order of the elements, but for long runs, which have the bits in common."""
    a = wide_sample(distribution, n, name, seed)
    key = key_of(a)
    field = field_of(key, n, n_bits)
    with small_sizes(), canaries(n, np.uint64) as words:
        pack(key, words, Chunk(0, n), field)
        words.sort()
        leading = words >> np.uint64(field.index_bits)
        long_runs = unpack(key, words, Chunk(0, n), field)
        longest = packing.LONG_RUN
        order = words.view(np.intp).copy()
    assert np.array_equal(np.sort(order), np.arange(n))
    for start, stop in long_runs:
        assert stop - start > longest
        assert (leading[start:stop] == leading[start]).all()
        assert (leading[:start] < leading[start]).all()
        assert (leading[stop:] > leading[start]).all()
        part = order[start:stop]
        order[start:stop] = part[np.argsort(a[part], kind="stable")]
    assert_same_bits(order, np.argsort(a, kind="stable"))


@given(
    n_lines=st.integers(1, 30),
    length=st.integers(1, 40),
    name=st.sampled_from(NAMES),
    n_bits=st.integers(1, 64),
    seed=st.integers(0, 1 << 20),
)
def test_refine_lines(n_lines, length, name, n_bits, seed):
    """A run ends with its line, even where the next line begins with the same bits."""
    n = n_lines * length
    a = wide_sample("few", n, name, seed)
    key = key_of(a)
    field = field_of(key, n, n_bits)
    words = np.empty(n, np.uint64)
    pack(key, words, Chunk(0, n), field)
    words.reshape(n_lines, length).sort(axis=1)
    refine(key, words, field, np.empty(n, np.uint64), length)
    found = words.view(np.intp).reshape(n_lines, length) - np.arange(0, n, length)[:, np.newaxis]
    expected = np.argsort(a.reshape(n_lines, length), axis=1, kind="stable")
    assert_same_bits(found, expected)


@pytest.mark.parametrize("n", [1, 2, 3, 17, 200])
def test_refine_of_equal_elements_keeps_their_order(n):
    for name in NAMES:
        a = np.concatenate([np.repeat(wide_sample("bits", 2, name), n)])
        key = key_of(a)
        field = field_of(key, a.size, 1)
        words = np.empty(a.size, np.uint64)
        pack(key, words, Chunk(0, a.size), field)
        words.sort()
        refine(key, words, field, np.empty(a.size, np.uint64))
        assert_same_bits(words.view(np.intp), np.argsort(a, kind="stable"))


def test_keys_of_thousands_of_bits():
    """Elements that differ only at their end take many rounds, each of the bits that fit."""
    a = np.full((300, 500), 65, np.uint8)
    rng = np.random.default_rng(0)
    a[:, ::40] = rng.integers(65, 67, a[:, ::40].shape)
    strings = a.view("S500")[:, 0]
    key = key_of(strings)
    words = np.empty(300, np.uint64)
    for n_bits in (1, 3, 64):
        field = field_of(key, 300, n_bits)
        pack(key, words, Chunk(0, 300), field)
        words.sort()
        refine(key, words, field, np.empty(300, np.uint64))
        assert_same_bits(words.view(np.intp), np.argsort(strings, kind="stable"))


def test_names_are_those_of_dtypes():
    assert set(NAMES) <= ALL.keys()
