import errno
import os
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray_ops.files import reading
from tests.ops.support import (
    POOLS,
    UnorderedPool,
    canaries,
    each_pool,
    small_sizes,
)

CHUNK = 64  # bytes, from small_sizes
SIZES = [0, 1, 63, 64, 65, 127, 128, 129, 640, 1009]
DATA = np.random.default_rng(0).integers(0, 256, 1 << 14, np.uint8).tobytes()


@contextmanager
def opened(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(DATA)
    return path


@each_pool
def test_reads_what_is_there(data, pool):
    with small_sizes(), opened(data) as descriptor:
        os.lseek(descriptor, 77, os.SEEK_SET)
        for n in SIZES:
            for offset in (0, 1, 64, 4096):
                with canaries(n, np.uint8) as out:
                    assert reading.read(descriptor, offset, out, pool()) == n
                    assert out.tobytes() == DATA[offset : offset + n]
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == 77


@each_pool
def test_a_file_that_ends_early_gives_what_is_there(data, pool):
    with small_sizes(), opened(data) as descriptor:
        for n_there in (0, 1, 63, 64, 65, 130, 500):
            with canaries(640, np.uint8) as out:
                out[:] = 0x5A
                assert reading.read(descriptor, len(DATA) - n_there, out, pool()) == n_there
                assert out.tobytes() == DATA[len(DATA) - n_there :] + b"\x5a" * (640 - n_there)
        with canaries(640, np.uint8) as out:
            assert reading.read(descriptor, len(DATA) + 1000, out, pool()) == 0


@given(n=st.integers(0, 2000), offset=st.integers(0, 1 << 14), chunk=st.integers(1, 300))
def test_any_range(n, offset, chunk):
    descriptor = os.memfd_create("data")
    try:
        os.pwrite(descriptor, DATA, 0)
        with small_sizes() as patch, canaries(n, np.uint8) as out:
            patch.setattr(reading, "CHUNK", chunk)
            n_read = reading.read(descriptor, offset, out, UnorderedPool(3, seed=n))
            assert n_read == len(DATA[offset : offset + n])
            assert out[:n_read].tobytes() == DATA[offset : offset + n]
    finally:
        os.close(descriptor)


@each_pool
@pytest.mark.parametrize("at_most", [1, 7, 63])
def test_short_reads_go_on(data, pool, at_most):
    preadv = os.preadv

    def short(descriptor, buffers, offset):
        return preadv(descriptor, [buffers[0][:at_most]], offset)

    with small_sizes() as patch, opened(data) as descriptor:
        patch.setattr(os, "preadv", short)
        for n in (0, 1, 64, 65, 1009):
            with canaries(n, np.uint8) as out:
                assert reading.read(descriptor, 3, out, pool()) == n
                assert out.tobytes() == DATA[3 : 3 + n]


@pytest.mark.parametrize("n_calls", range(6))
@pytest.mark.parametrize("n_left", [0, 1, 64, 100, 300])
def test_a_file_that_shrinks_gives_its_beginning_without_a_gap(data, n_calls, n_left):
    """The file is cut at a point in the middle of the reading, whatever part was read first."""
    n, preadv = 6 * CHUNK, os.preadv
    for seed in (None, 1, 2):
        data.write_bytes(DATA)
        n_given = {}  # offset -> bytes

        def shrinking(descriptor, buffers, offset, n_given=n_given):
            if len(n_given) == n_calls:
                os.truncate(data, n_left)
            n_given[offset] = preadv(descriptor, buffers, offset)
            return n_given[offset]

        with small_sizes() as patch, opened(data) as descriptor, canaries(n, np.uint8) as out:
            patch.setattr(os, "preadv", shrinking)
            n_read = reading.read(descriptor, 0, out, UnorderedPool(3, seed))

            without_gap = 0
            while n_given.get(without_gap):
                without_gap += n_given[without_gap]
            assert n_read == without_gap
            assert out[:n_read].tobytes() == DATA[:n_read]


def test_what_lies_behind_a_gap_does_not_count(data):
    """The last part is read first and whole, then the file shrinks below it."""
    n, preadv = 6 * CHUNK, os.preadv

    def shrinking(descriptor, buffers, offset):
        result = preadv(descriptor, buffers, offset)
        if offset == n - CHUNK:
            os.truncate(data, CHUNK + 5)
        return result

    with small_sizes() as patch, opened(data) as descriptor:
        patch.setattr(os, "preadv", shrinking)
        out = np.zeros(n, np.uint8)
        assert reading.read(descriptor, 0, out, UnorderedPool(2)) == CHUNK + 5


@pytest.mark.parametrize("pool", ["bare", "thread-2"])
def test_an_error_of_the_system_comes_out(data, pool):
    def failing(descriptor, buffers, offset):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with small_sizes() as patch, opened(data) as descriptor:
        patch.setattr(os, "preadv", failing)
        with pytest.raises(Exception, match="Input/output error") as caught:
            reading.read(descriptor, 0, np.empty(1000, np.uint8), POOLS[pool]())
    reason = getattr(caught.value, "reason", caught.value)
    assert isinstance(reason, OSError)
    assert reason.errno == errno.EIO


def test_with_the_real_sizes(tmp_path):
    path = tmp_path / "large.bin"
    n = 2 * reading.CHUNK + 4099
    expected = np.random.default_rng(0).integers(0, 256, n, np.uint8)
    expected.tofile(path)
    with opened(path) as descriptor:
        for pool in (POOLS["thread-2"], POOLS["thread-7"]):
            for size in (reading.CHUNK - 1, reading.CHUNK, reading.CHUNK + 1, n):
                with canaries(size, np.uint8) as out:
                    assert reading.read(descriptor, n - size, out, pool()) == size
                    assert np.array_equal(out, expected[n - size :])
