import gzip
import io
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import MapReduce
from sharedarray.files import fromfile
from tests.files.fromfile_support import DATA, DTYPES, check
from tests.functions.support import small_arrays
from tests.ops.support import (
    RecordingPool,
    assert_same_bits,
    each_pool,
    outcome,
)

# paths, dtypes, counts, offsets


@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
def test_paths(small, data, kind):
    check(lambda f: f(kind(data), "u1"))
    check(lambda f: f(kind(data), "i2", 10))
    check(lambda f: f(file=kind(data), dtype="u1", count=300, sep="", offset=7))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes(small, data, dtype):
    for count in (-1, -2, 0, 1, 40, 10_000):
        for offset in (0, 1, 4000):
            check(lambda f, c=count, o=offset: f(data, dtype, c, offset=o))


def test_dtype_none_is_float64(small, data):
    check(lambda f: f(data))
    check(lambda f: f(data, None, 9))
    check(lambda f: f(data, float))


@each_pool
@pytest.mark.parametrize("count", [-1, 0, 1, 7, 8, 9, 16, 100, 511, 512, 513, 600, 10**6])
def test_counts_and_offsets_by_any_pool(small, data, count, pool):
    for offset in (0, 1, 8, 3000, 4090, 4098, 4099):
        expected = np.fromfile(data, "f8", count, offset=offset)
        result = sharedarray.fromfile(data, "f8", count, offset=offset, pool=pool())
        assert_same_bits(result, expected)


@given(
    size=st.integers(0, 1000),
    count=st.integers(-2, 1100),
    offset=st.integers(0, 1100),
    dtype=st.sampled_from(["u1", "i2", ">f4", "S3", "(2,)u1"]),
)
def test_any_range(size, count, offset, dtype):
    with tempfile.NamedTemporaryFile() as file, small_arrays():
        file.write(DATA[:size])
        file.flush()
        expected = outcome(lambda: np.fromfile(file.name, dtype, count, offset=offset))
        result = outcome(lambda: sharedarray.fromfile(file.name, dtype, count, offset=offset))
        assert result[0] == expected[0]
        if result[0] == "raised":
            assert result[1] is expected[1]
        else:
            assert_same_bits(result[1], expected[1])


@pytest.mark.parametrize("delta", [-1, 0, 1])
def test_around_the_real_threshold(tmp_path, delta):
    path = tmp_path / "data.bin"
    values = np.random.default_rng(0).integers(0, 256, fromfile.MIN_FROMFILE + delta, np.uint8)
    values.tofile(path)
    pool = RecordingPool(2)

    assert_same_bits(sharedarray.fromfile(path, "u1", pool=pool), values)

    assert bool(pool.maps) is (delta >= 0)


def test_large_files(tmp_path):
    path = tmp_path / "data.bin"
    values = np.random.default_rng(0).standard_normal(3_000_017)
    values.tofile(path)
    for n_workers in (0, 1, 2, 3, 7):
        pool = MapReduce(np=n_workers)
        assert_same_bits(sharedarray.fromfile(path, pool=pool), values)
        assert_same_bits(sharedarray.fromfile(path, offset=8 * 17, pool=pool), values[17:])
        assert_same_bits(sharedarray.fromfile(path, count=2_000_003, pool=pool), values[:2_000_003])


# file objects


@pytest.mark.parametrize("buffering", [-1, 0, 16])
@pytest.mark.parametrize("position", [0, 5, 3000, 4099])
@pytest.mark.parametrize(
    ("count", "offset"), [(-1, 0), (20, 0), (300, 11), (0, 3), (-1, -5), (20, -5)]
)
def test_position_of_a_file_object(small, data, buffering, position, count, offset):
    where = []

    def read(f):
        with data.open("rb", buffering=buffering) as file:
            file.seek(position)
            try:
                return f(file, "i2", count, offset=offset)
            finally:
                where.append(file.tell())
                where.append(file.read(3))

    check(read, expect_error=position + offset < 0)
    if position + offset >= 0:
        assert where[:2] == where[2:]


@pytest.mark.parametrize("count", [-1, 10, 200])
def test_a_buffered_handle_that_has_read_ahead(small, data, count):
    rest = []

    def read(f):
        with data.open("rb") as file:
            assert file.read(7) == DATA[:7]
            file.peek()
            first = f(file, "u1", 100)
            second = f(file, ">u2", count, offset=1)
            rest.append((file.tell(), file.read()))
            return (
                np.concatenate([first, second.view("u1")])
                if f is np.fromfile
                else joined(first, second.view("u1"))
            )

    check(read)
    assert rest[0] == rest[1]


def joined(*parts):
    return sharedarray.array(np.concatenate(parts))


@pytest.mark.parametrize("mode", ["r+b", "w+b", "a+b"])
@pytest.mark.parametrize("buffering", [-1, 0])
def test_pending_writes_are_read(small, data, mode, buffering):
    ends = []

    def read(f):
        data.write_bytes(DATA)
        with data.open(mode, buffering=buffering) as file:
            file.write(b"0123456789" * 20)
            file.seek(0)
            result = f(file, "u1")
            ends.append((file.tell(), result.size))
            file.write(b"more")
        ends.append(data.read_bytes())
        return result

    check(read)
    assert ends[:2] == ends[2:]


@pytest.mark.parametrize("n_new", [50, 500])
@pytest.mark.parametrize("mode", ["r+b", "w+b"])
def test_writes_that_no_seek_has_flushed(small, data, mode, n_new):
    ends = []

    def read(f):
        data.write_bytes(DATA[:1000])
        with data.open(mode) as file:
            file.write(DATA[-n_new:])
            result = f(file, "u1", offset=5 - n_new)
            ends.append((file.tell(), file.read()))
            return result

    check(read)
    assert ends[0] == ends[1]


@pytest.mark.parametrize(
    "make", [tempfile.TemporaryFile, tempfile.NamedTemporaryFile], ids=["plain", "named"]
)
@pytest.mark.parametrize("size", [10, 1000])
def test_temporary_files(small, make, size):
    ends = []

    def read(f):
        with make() as file:
            file.write(DATA[:size])
            file.seek(3)
            result = f(file, "u1", size // 2)
            ends.append((file.tell(), file.read()))
            return result

    check(read)
    assert ends[0] == ends[1]


def open_descriptors():
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def test_the_handle_stays_open_and_is_not_left_behind(small, data):
    before = open_descriptors()
    with data.open("rb") as file:
        sharedarray.fromfile(file, "u1")
        assert not file.closed
        assert file.read() == b""
    for kwargs in ({}, {"count": 3}, {"offset": 10**6}, {"dtype": "S0"}):
        outcome(lambda k=kwargs: sharedarray.fromfile(data, **k))
    assert open_descriptors() == before


@pytest.mark.parametrize("size", [10, 4099])
def test_files_that_do_not_read_their_own_descriptor(small, tmp_path, size):
    zipped = tmp_path / "data.gz"
    with gzip.open(zipped, "wb") as file:
        file.write(DATA[:size])

    with pytest.raises(TypeError, match="BytesIO"):
        sharedarray.fromfile(io.BytesIO(DATA[:size]), "u1")
    with gzip.open(zipped) as file, pytest.raises(TypeError, match="Gzip"):
        sharedarray.fromfile(file, "u1")
    with gzip.open(zipped) as file, io.BufferedReader(file) as wrapped, pytest.raises(TypeError):
        sharedarray.fromfile(wrapped, "u1")
    with tempfile.SpooledTemporaryFile() as file, pytest.raises(TypeError):
        sharedarray.fromfile(file, "u1")
