import errno
import os

import numpy as np
import pytest

import sharedarray
from sharedarray import MapReduce, SharedArray
from tests.files.fromfile_support import DATA, check
from tests.functions.support import MIN_FROMFILE, Untouched
from tests.ops.support import (
    POOLS,
    RecordingPool,
    UnorderedPool,
    assert_same_bits,
    outcome,
)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"dtype": "nonsense"},
        {"dtype": object},
        {"dtype": "i4,O"},
        {"dtype": "S0"},
        {"dtype": "S"},
        {"dtype": "U"},
        {"dtype": "V0"},
        {"dtype": np.dtypes.StringDType()},
        {"dtype": [("a", "S0")]},
        {"dtype": "(0,)i4"},
        {"dtype": 3},
        {"count": 1.0},
        {"count": "1"},
        {"count": None},
        {"count": [1]},
        {"count": 2**70},
        {"offset": 1.0},
        {"offset": "1"},
        {"offset": None},
        {"offset": -1},
        {"offset": -1, "count": 3},
        {"offset": 2**70},
        {"offset": 5000},
        {"offset": 5000, "count": -7},
        {"sep": None},
        {"sep": b""},
        {"sep": 0},
        {"sep": " ", "offset": 1},
        {"sep": " ", "dtype": "S3"},
        {"sep": " ", "dtype": "i4,i4"},
        {"nothing": 1},
        {"like": 3},
    ],
    ids=str,
)
def test_arguments_are_judged_like_numpy(small, data, kwargs):
    kwargs = {"dtype": "u1", **kwargs}
    expected = outcome(lambda: np.fromfile(data, **kwargs))
    assert expected[0] == "raised"
    assert outcome(lambda: sharedarray.fromfile(data, pool=Untouched(), **kwargs)) == expected
    with data.open("rb") as file:
        file.seek(20)
        expected = outcome(lambda: np.fromfile(file, **kwargs))
    with data.open("rb") as file:
        file.seek(20)
        result = outcome(lambda: sharedarray.fromfile(file, **kwargs))
        assert result[0] == expected[0]
        if result[0] == "raised":
            assert result[1] is expected[1]
        else:
            assert_same_bits(result[1], expected[1])


@pytest.mark.parametrize("count", [0, 3, 200])
def test_behind_the_end_with_a_count_is_empty(small, data, count):
    check(lambda f: f(data, "u1", count, offset=5000))
    check(lambda f: f(data, "u1", count, offset=len(DATA)))
    check(lambda f: f(data, "u1", offset=len(DATA)))


def test_files_that_are_not_there(small, tmp_path):
    check(lambda f: f(tmp_path / "missing", "u1"), expect_error=True)
    check(lambda f: f(tmp_path, "u1"), expect_error=True)
    check(lambda f: f(str(tmp_path), "u1", 5), expect_error=True)
    check(lambda f: f("", "u1"), expect_error=True)
    check(lambda f: f("nul\0", "u1"), expect_error=True)
    check(lambda f: f(data_of(tmp_path, b""), "u1"))


def data_of(folder, content):
    path = folder / "some.bin"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("file", [None, 3, 3.5, [1], object()], ids=str)
def test_what_is_no_file(small, file):
    assert outcome(lambda: np.fromfile(file, "u1"))[0] == "raised"
    with pytest.raises((TypeError, AttributeError)):
        sharedarray.fromfile(file, "u1")


def test_closed_and_write_only_files(small, data):
    file = data.open("rb")
    file.close()
    check(lambda f: f(file, "u1"), expect_error=True)

    # NumPy raises, too, but leaves the descriptor open that it has duplicated.
    with os.fdopen(os.open(data, os.O_WRONLY), "wb") as file, pytest.raises(OSError, match="file"):
        sharedarray.fromfile(file, "u1")


@pytest.mark.parametrize("count", [0, 10, 1000])
def test_devices(small, count):
    check(lambda f: f("/dev/zero", "u1", count))
    check(lambda f: f("/dev/zero", "i4", count, offset=0))
    check(lambda f: f("/dev/null", "u1", count))


def test_files_without_a_size(small):
    check(lambda f: f("/proc/self/status", "u1"))
    check(lambda f: f("/proc/version", "u1", 5))


@pytest.mark.parametrize("text", ["1 2 3", "1, 2,3", "", "1.5 2.5e3 nan", " 7 "])
def test_text(small, tmp_path, text):
    path = data_of(tmp_path, text.encode())
    for sep in (" ", ","):
        if (sep in text and ("," in text) == (sep == ",")) or text in ("", " 7 "):
            check(lambda f, s=sep: f(path, float, sep=s))
            check(lambda f, s=sep: f(path, "f4", 2, s))


# strict


@pytest.mark.parametrize("size", [20, 1004])  # not whole float64
def test_strict_names_what_was_expected_and_found(small, tmp_path, size):
    path = data_of(tmp_path, DATA[:size])
    n_items = size // 4
    with pytest.raises(EOFError, match=rf"(?s){n_items + 1}.*{n_items}"):
        sharedarray.fromfile(path, "i4", n_items + 1, strict=True)
    with pytest.raises(EOFError, match=rf"(?s)10000.*{n_items - 1}"):
        sharedarray.fromfile(path, "i4", 10_000, offset=1, strict=True)
    with pytest.raises(EOFError, match=r"(?s)8.*4|4.*8"):
        sharedarray.fromfile(path, "f8", strict=True)
    with pytest.raises(EOFError, match=r"5.*0"):
        sharedarray.fromfile(path, "i4", 5, offset=size, strict=True)
    with path.open("rb") as file:
        file.seek(2)
        with pytest.raises(EOFError):
            sharedarray.fromfile(file, "i4", strict=True)


@pytest.mark.parametrize("size", [0, 20, 1000])
def test_strict_is_content_with_whole_items(small, tmp_path, size):
    path = data_of(tmp_path, DATA[:size])
    n_items = size // 4
    for kwargs in ({}, {"count": n_items}, {"count": n_items // 2}, {"count": 0}, {"offset": size}):
        result = sharedarray.fromfile(path, "i4", strict=True, **kwargs)
        assert_same_bits(result, np.fromfile(path, "i4", **kwargs))
    # Bytes behind the items that were asked for do not matter.
    assert sharedarray.fromfile(path, "(3,)u1", n_items, strict=True).shape == (n_items, 3)


def test_strict_on_devices():
    with pytest.raises(EOFError):
        sharedarray.fromfile("/dev/null", "u1", 5, strict=True)
    assert sharedarray.fromfile("/dev/zero", "u1", 5, strict=True).tolist() == [0] * 5


def test_strict_with_subarrays_counts_items(small, data):
    assert sharedarray.fromfile(data, "(2,)u1", 2049, strict=True).shape == (2049, 2)
    with pytest.raises(EOFError, match=r"(?s)2050.*2049"):
        sharedarray.fromfile(data, "(2,)u1", 2050, strict=True)


# what happens meanwhile


@pytest.mark.parametrize("at_most", [1, 5, 63])
@pytest.mark.parametrize("pool", ["bare", "backwards-3", "thread-2"])
def test_short_reads_go_on(small, data, at_most, pool):
    preadv = os.preadv
    small.setattr(os, "preadv", lambda fd, bufs, at: preadv(fd, [bufs[0][:at_most]], at))

    for dtype in ("u1", "f8", "(3,)i2"):
        result = sharedarray.fromfile(data, dtype, offset=3, pool=POOLS[pool]())
        assert_same_bits(result, np.fromfile(data, dtype, offset=3))


@pytest.mark.parametrize("dtype", ["u1", "f8", "(3,)i2", "S5"])
@pytest.mark.parametrize("n_left", [0, 1, 100, 1000, 2047])
@pytest.mark.parametrize("n_calls", [0, 1, 20])
def test_a_shrinking_file_gives_what_was_there(small, data, n_calls, n_left, dtype):
    """The file is cut while it is read, in order: the array ends there, and holds nothing else."""
    preadv, calls = os.preadv, []

    def shrinking(descriptor, buffers, offset):
        if len(calls) == n_calls:
            os.truncate(data, n_left)
        calls.append(offset)
        return preadv(descriptor, buffers, offset)

    small.setattr(os, "preadv", shrinking)
    n_there = max(n_left, n_calls * 64)
    itemsize = np.dtype(dtype).itemsize
    expected = np.frombuffer(DATA[: n_there - n_there % itemsize], dtype)

    with data.open("rb") as file:
        result = sharedarray.fromfile(file, dtype, pool=POOLS["bare"]())
        assert type(result) is SharedArray
        assert_same_bits(result, expected)
        assert file.tell() == expected.nbytes
    data.write_bytes(DATA)
    calls.clear()
    with pytest.raises(EOFError, match=f"{len(DATA) // itemsize}.*{len(expected)}"):
        sharedarray.fromfile(data, dtype, pool=POOLS["bare"](), strict=True)


def test_a_file_cut_behind_the_back_of_the_later_parts(small, data):
    """What was read behind the new end does not count, even where the memory has it."""
    preadv = os.preadv

    def shrinking(descriptor, buffers, offset):
        n_read = preadv(descriptor, buffers, offset)
        os.truncate(data, 1000)
        return n_read

    small.setattr(os, "preadv", shrinking)
    result = sharedarray.fromfile(data, "u1", pool=UnorderedPool(2))
    assert_same_bits(result, np.frombuffer(DATA[:1000], "u1"))


@pytest.mark.parametrize("pool", ["bare", "thread-2", "serial-3"])
def test_an_error_of_the_system_comes_out_as_it_is(small, data, pool):
    def failing(descriptor, buffers, offset):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    small.setattr(os, "preadv", failing)
    with pytest.raises(OSError, match="Input/output error") as caught:
        sharedarray.fromfile(data, "u1", pool=POOLS[pool]())
    assert caught.value.errno == errno.EIO


def test_small_reads_are_numpys(small, data):
    pool = Untouched()
    assert_same_bits(
        sharedarray.fromfile(data, "u1", MIN_FROMFILE - 1, pool=pool),
        np.fromfile(data, "u1", MIN_FROMFILE - 1),
    )
    pool = RecordingPool(2)
    sharedarray.fromfile(data, "u1", MIN_FROMFILE, pool=pool)
    assert pool.maps


def test_a_pool_has_to_be_one(small, data):
    for count in (5, 1000):
        for pool in (3, "thread"):
            with pytest.raises(TypeError):
                sharedarray.fromfile(data, "u1", count, pool=pool)


def test_an_error_of_a_worker_keeps_no_loop(data, small, monkeypatch):
    def fail(*args):
        raise OSError(5, "broken disk")

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(OSError, match="broken disk") as caught:
        sharedarray.fromfile(data, "u1", pool=MapReduce(np=2))
    assert caught.value.__cause__ is None
