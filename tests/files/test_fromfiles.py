"""fromfiles: NumPy's concatenation of the files is the oracle."""

from __future__ import annotations

import os
import resource
import tempfile
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import MapReduce, SharedArray
from sharedarray.files import fromfiles as module
from sharedarray.files.fromfiles import fromfiles
from sharedarray_ops.files import reading
from tests.files.fromfile_support import DATA, DTYPES
from tests.functions.support import Untouched
from tests.ops.support import (
    RecordingPool,
    UnorderedPool,
    assert_same_bits,
    each_pool,
    outcome,
)

SIZES = [0, 1, 8, 63, 64, 65, 0, 0, 128, 640, 1009, 7, 0]


@pytest.fixture
def tiny(small):
    """Chunks of 64 bytes and 3 files, all of them for the workers."""
    small.setattr(module, "MIN_FROMFILE", 1)
    small.setattr(module, "MIN_FILE", 1)
    small.setattr(reading, "MAX_FILES", 3)
    return small


def write(folder, sizes):
    paths = []
    for i, size in enumerate(sizes):
        paths.append(Path(folder, f"{i}.bin"))
        paths[-1].write_bytes(DATA[i : i + size])
    return paths


@pytest.fixture
def paths(tmp_path):
    return write(tmp_path, SIZES)


def concatenated(paths, dtype, count=-1, offset=0):
    parts = [np.fromfile(path, dtype, count, offset=offset) for path in paths]
    native = np.concatenate(parts)  # which forgets the byte order
    result = np.empty(native.shape, parts[0].dtype)
    result[...] = native
    return result


@each_pool
def test_by_any_pool(tiny, paths, pool):
    for count in (-1, 0, 1, 9, 500):
        result = fromfiles(paths, "i2", count, pool=pool())
        assert type(result) is SharedArray
        assert_same_bits(result, concatenated(paths, "i2", count))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
@pytest.mark.parametrize("direct", [False, True])
def test_by_processes(tiny, paths, direct):
    told = []
    pool = MapReduce("process", np=2)
    result = fromfiles(paths, "i2", pool=pool, direct=direct, progress=told.append)
    expected = concatenated(paths, "i2")
    assert_same_bits(result, expected)
    assert told == sorted(set(told))
    assert told[-1] == expected.nbytes


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes(tiny, paths, dtype):
    for offset, count in ((0, -1), (0, 3), (9, 4), (5000, 2)):
        result = fromfiles(paths, dtype, count, offset)
        assert_same_bits(result, concatenated(paths, dtype, count, offset))
        assert result.dtype == np.fromfile(paths[0], dtype, 0).dtype


@given(
    sizes=st.lists(st.integers(0, 300), min_size=1, max_size=12),
    count=st.integers(-2, 100),
    offset=st.integers(0, 310),
    dtype=st.sampled_from(["u1", "i2", "(3,)u1", "S5"]),
    chunk=st.integers(1, 400),
    max_files=st.integers(1, 5),
    direct=st.booleans(),
    strict=st.booleans(),
)
def test_any_files(sizes, count, offset, dtype, chunk, max_files, direct, strict):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MIN_FROMFILE", 1)
        patch.setattr(reading, "CHUNK", chunk)
        patch.setattr(reading, "MAX_FILES", max_files)
        paths = write(folder, sizes)
        expected = outcome(lambda: concatenated(paths, dtype, count, offset))
        itemsize = np.dtype(dtype).itemsize
        left = [size - offset for size in sizes]
        is_short = any(
            max(0, n) // itemsize < count if count >= 0 else n >= 0 and n % itemsize for n in left
        )
        pool = UnorderedPool(3, seed=chunk)
        result = outcome(
            lambda: fromfiles(paths, dtype, count, offset, strict=strict, pool=pool, direct=direct)
        )
        if strict and is_short:
            assert result[0] == "raised"
            assert result[1] in (EOFError, ValueError)
        elif expected[0] == "raised":
            assert result == expected
        else:
            assert_same_bits(result[1], expected[1])


def test_chunks_hold_few_bytes_and_few_files(tiny, tmp_path):
    """Of what the workers are given: large files are cut, small ones come together."""
    paths = write(tmp_path, [1000, *[1] * 100, 0, 200])
    pool = RecordingPool(2)
    fromfiles(paths, "u1", pool=pool)
    (parts,) = pool.maps
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]
    assert (parts[0].start, parts[-1].stop) == (0, 1300)
    assert max(part.size for part in parts) == 64
    small = [part for part in parts if part.start >= 1000 and part.stop < 1100]
    assert {part.size for part in small} <= {2, 3}


def test_who_works(monkeypatch, tmp_path):
    """A pool that is given works from enough bytes; the default one only on files of some size."""
    paths = write(tmp_path, [100] * 10)
    asked = []
    pool_for = module.pool_for
    monkeypatch.setattr(
        module,
        "pool_for",
        lambda pool, parallel: asked.append(parallel) or pool_for(None, parallel=False),
    )
    monkeypatch.setattr(module, "MIN_FROMFILE", 1000)
    for min_file, pool, size in ((100, None, 10), (101, None, 10), (101, Untouched(), 10)):
        monkeypatch.setattr(module, "MIN_FILE", min_file)
        fromfiles(paths[:size], "u1", pool=pool)
    fromfiles(paths[:9], "u1", pool=Untouched())
    assert asked == [True, False, True, False]


def test_files_with_the_real_sizes(tmp_path):
    values = np.random.default_rng(0).standard_normal(3_000_017)
    cuts = [0, 1, 2_000_000, 2_000_000, 2_000_100, 3_000_017]
    paths = []
    for a, b in pairwise(cuts):
        paths.append(tmp_path / f"{a}-{b}")
        values[a:b].tofile(paths[-1])
    for direct in (False, True):
        assert_same_bits(fromfiles(paths, direct=direct, pool=MapReduce(np=2)), values)
    assert_same_bits(fromfiles(paths), values)


def test_kinds_of_paths(paths):
    expected = concatenated(paths, "u1")
    for kind in (str, os.fsencode):
        assert_same_bits(fromfiles([kind(path) for path in paths], "u1"), expected)
        assert_same_bits(fromfiles(map(kind, paths), "u1"), expected)
    twice = [paths[-3]] * 2
    assert_same_bits(fromfiles(twice, "u1"), concatenated(twice, "u1"))


def test_more_files_than_descriptors(tiny, tmp_path):
    paths = write(tmp_path, [5] * 300)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    n_open = len(list(Path("/proc/self/fd").iterdir()))
    pool = MapReduce(np=2)
    expected = concatenated(paths, "u1")
    resource.setrlimit(resource.RLIMIT_NOFILE, (n_open + 16, hard))
    try:
        for direct in (False, True):
            assert_same_bits(fromfiles(paths, "u1", pool=pool, direct=direct), expected)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_extra_memory_is_small(tmp_path):
    path = tmp_path / "a.bin"
    np.zeros(100_000).tofile(path)
    paths = [str(path)] * 200  # 160 MB
    fromfiles(paths[:1])
    tracemalloc.start()
    try:
        result = fromfiles(paths)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.shape == (20_000_000,)
    assert result.nbytes <= peak < result.nbytes * 1.01


# errors


def test_bad_paths_raise_before_anything_is_read(tiny, paths, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    secret = tmp_path / "secret"
    secret.touch(0o000)
    bad = [tmp_path / "missing", tmp_path, fifo, "/dev/zero", *([secret] if os.getuid() else [])]
    for path in bad:
        with pytest.raises(OSError, match=r"No such|Is a dir|regular files|Permission") as caught:
            fromfiles([*paths, path], "u1", pool=Untouched())
        assert caught.value.filename == os.fspath(path)
    for path, error in ((tmp_path / "missing", FileNotFoundError), (tmp_path, IsADirectoryError)):
        with pytest.raises(error):
            fromfiles([path, *paths], "u1", pool=Untouched())


@pytest.mark.parametrize(
    ("paths", "error"),
    [
        ([], ValueError),
        ("one", TypeError),
        (b"one", TypeError),
        (Path("one"), TypeError),
        ([3], TypeError),
        ([None], TypeError),
        (3, TypeError),
        (["nul\0"], ValueError),
    ],
    ids=str,
)
def test_what_is_no_list_of_paths(paths, error):
    with pytest.raises(error):
        fromfiles(paths, "u1", pool=Untouched())


@pytest.mark.parametrize(
    "kwargs",
    [
        {"dtype": "nonsense"},
        {"dtype": object},
        {"dtype": "S0"},
        {"dtype": "(0,)i4"},
        {"dtype": np.dtypes.StringDType()},
        {"count": 1.0},
        {"count": None},
        {"offset": 1.0},
        {"offset": -1},
        {"offset": 5000},
        {"nothing": 1},
    ],
    ids=str,
)
def test_arguments_are_judged_like_numpy(paths, kwargs):
    kwargs = {"dtype": "u1", **kwargs}
    expected = outcome(lambda: np.fromfile(paths[-2], **kwargs))
    assert expected[0] == "raised"
    assert outcome(lambda: fromfiles(paths, pool=Untouched(), **kwargs)) == expected


def test_options_of_ours(paths):
    for kwargs in ({"pool": 3}, {"progress": 3}):
        with pytest.raises(TypeError):
            fromfiles(paths, "u1", **kwargs)
    result = fromfiles(paths, "u1", name="files")
    try:
        assert_same_bits(sharedarray.attach("files"), concatenated(paths, "u1"))
    finally:
        del result
        sharedarray.unlink("files")


def test_strict_names_the_file_before_anything_is_read(tiny, tmp_path):
    paths = write(tmp_path, [64, 24, 64])
    with pytest.raises(EOFError, match=r"expected 4 items, found 3 .*1\.bin"):
        fromfiles(paths, "f8", 4, strict=True, pool=Untouched())
    with pytest.raises(EOFError, match=r"found 4 bytes more than 7 items .*0\.bin"):
        fromfiles(paths, "f8", offset=4, strict=True, pool=Untouched())
    assert_same_bits(fromfiles(paths, "f8", strict=True), concatenated(paths, "f8"))
    assert_same_bits(fromfiles(paths, "f8", 3, strict=True), concatenated(paths, "f8", 3))
    # Bytes behind the items that were asked for do not matter.
    assert_same_bits(fromfiles(paths, "f8", 2, 4, strict=True), concatenated(paths, "f8", 2, 4))


@pytest.mark.parametrize("dtype", ["u1", "i2", "(3,)u1"])
@pytest.mark.parametrize("seed", range(6))
def test_files_that_shrink_give_what_was_there(tiny, tmp_path, dtype, seed):
    """Some files are cut before the first byte is read, whatever the order; none has a gap."""
    rng = np.random.default_rng(seed)
    sizes = [600, 0, 6, 66, 300, 126, 6]
    paths = write(tmp_path, sizes)
    preadv = os.preadv

    def shrinking(descriptor, buffers, offset):
        for path, size in zip(paths, sizes, strict=True):
            if path.stat().st_size == size and rng.random() < 0.5:
                os.truncate(path, int(rng.integers(0, size + 1)))
        tiny.setattr(os, "preadv", preadv)
        return preadv(descriptor, buffers, offset)

    tiny.setattr(os, "preadv", shrinking)
    result = fromfiles(paths, dtype, pool=UnorderedPool(3, seed))
    assert_same_bits(result, concatenated(paths, dtype))

    paths = write(tmp_path, sizes)
    tiny.setattr(os, "preadv", shrinking)
    rng = np.random.default_rng(seed)
    with pytest.raises(EOFError, match=r"expected \d+ items, found \d+: .*bin.* was truncated"):
        fromfiles(paths, dtype, strict=True, pool=UnorderedPool(3, seed))


def test_a_file_that_goes_meanwhile_is_named(tiny, paths):
    preadv = os.preadv

    def removing(descriptor, buffers, offset):
        paths[-3].unlink(missing_ok=True)
        return preadv(descriptor, buffers, offset)

    tiny.setattr(os, "preadv", removing)
    with pytest.raises(FileNotFoundError) as caught:
        fromfiles(paths, "u1", pool=MapReduce(np=2))
    assert caught.value.filename == str(paths[-3])


def test_a_file_that_becomes_a_fifo_is_not_waited_for(tiny, paths):
    preadv = os.preadv

    def replacing(descriptor, buffers, offset):
        if not paths[-3].is_fifo():
            paths[-3].unlink()
            os.mkfifo(paths[-3])
        return preadv(descriptor, buffers, offset)

    tiny.setattr(os, "preadv", replacing)
    with pytest.raises(OSError, match="Illegal seek"):
        fromfiles(paths, "u1", pool=MapReduce(np=2))
