import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray_ops.files import checksums
from tests.ops.support import UnorderedPool, each_pool

CHUNK = 64
DATA = np.random.default_rng(0).integers(0, 256, 2000, np.uint8)


@each_pool
def test_as_zlib(monkeypatch, pool):
    monkeypatch.setattr(checksums, "CHUNK", CHUNK)
    for n in (0, 1, 63, 64, 65, 127, 128, 129, 1009):
        assert checksums.crc32(DATA[:n], pool()) == zlib.crc32(DATA[:n])


@given(data=st.binary(max_size=300), cut=st.integers(0, 300))
def test_any_cut(data, cut):
    first, second = zlib.crc32(data[:cut]), zlib.crc32(data[cut:])
    assert checksums.joined(first, second, len(data[cut:])) == zlib.crc32(data)


@pytest.mark.parametrize("n_zeros", [1 << 20, (1 << 33) + 1])
def test_lengths_beyond_32_bits(n_zeros):
    """Appending zeros is a known power of x: in two steps as in one."""
    crc = zlib.crc32(b"abc")
    zeros = {n: _zeros(n) for n in (n_zeros // 2, n_zeros - n_zeros // 2, n_zeros)}
    half = checksums.joined(crc, zeros[n_zeros // 2], n_zeros // 2)
    rest = n_zeros - n_zeros // 2
    assert checksums.joined(half, zeros[rest], rest) == checksums.joined(
        crc, zeros[n_zeros], n_zeros
    )
    if n_zeros <= 1 << 20:
        assert zeros[n_zeros] == zlib.crc32(bytes(n_zeros))


def _zeros(n):
    """Return the CRC of n zero bytes, by doubling."""
    result, n_done, part, n_part = 0, 0, zlib.crc32(b"\0"), 1
    while n_done < n:
        if n - n_done & n_part:
            result, n_done = checksums.joined(result, part, n_part), n_done + n_part
        part, n_part = checksums.joined(part, part, n_part), 2 * n_part
    return result


def test_a_wrong_bit_is_noticed():
    wrong = DATA.copy()
    wrong[1234] ^= 4
    pool = UnorderedPool(2)
    assert checksums.crc32(wrong, pool) != checksums.crc32(DATA, pool)
