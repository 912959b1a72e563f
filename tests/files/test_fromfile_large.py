"""fromfile of files above 2 GiB, and of files that others change while they are read."""

from __future__ import annotations

import bz2
import contextlib
import errno
import lzma
import os
import threading

import numpy as np
import pytest

import sharedarray
from sharedarray import MapReduce
from sharedarray.files import fromfile as functions
from sharedarray.files.fromfile import fromfile
from sharedarray.files.fromfiles import fromfiles
from sharedarray_ops.files import reading
from tests.functions.support import Untouched
from tests.ops.support import BarePool, assert_same_bits

GIB = 1 << 30
MAX_READ = 0x7FFFF000  # bytes that Linux gives in one call


@pytest.fixture
def sparse(tmp_path):
    """3 GiB of zeros that take no room, with some numbers around 2 GiB and at the end."""
    path = tmp_path / "sparse.bin"
    with path.open("wb") as file:
        for at in (2 * GIB - 4000, 3 * GIB - 4000):
            file.seek(at)
            np.arange(1000, dtype="<u8").tofile(file)
        file.truncate(3 * GIB)
    return path


@pytest.mark.parametrize("direct", [False, True])
def test_positions_above_2_gib(sparse, direct):
    n = functions.MIN_FROMFILE
    for offset, count in ((2 * GIB - n // 2, n), (3 * GIB - n - 1, -1)):
        expected = np.fromfile(sparse, "u1", count, offset=offset)
        assert expected.any()
        for pool in (MapReduce(np=2), BarePool()):
            result = fromfile(sparse, "u1", count, offset=offset, direct=direct, pool=pool)
            assert_same_bits(result, expected)
            result = fromfiles([sparse], "u1", count, offset, direct=direct, pool=pool)
            assert_same_bits(result, expected)
    with sparse.open("rb") as file:
        file.seek(2 * GIB - 4000)
        assert fromfile(file, "<u8", n // 8)[999] == 999
        assert file.tell() == 2 * GIB - 4000 + n


def test_more_bytes_than_one_read_gives(monkeypatch):
    """Only pages around the limit are touched before: what is not read there shows."""
    monkeypatch.setattr(reading, "CHUNK", 1 << 40)
    n = MAX_READ + 5000
    out = np.empty(n, np.uint8)
    out[MAX_READ - 5000 :] = 0xA5
    preadv, calls = os.preadv, []

    def counting(descriptor, buffers, offset):
        calls.append((offset, preadv(descriptor, buffers, offset)))
        return calls[-1][1]

    monkeypatch.setattr(os, "preadv", counting)
    descriptor = os.open("/dev/zero", os.O_RDONLY)
    try:
        assert reading.read(descriptor, 0, out, BarePool()) == n
    finally:
        os.close(descriptor)
    assert not out[MAX_READ - 5000 :].any()
    assert calls == [(0, MAX_READ), (MAX_READ, 5000)]


@pytest.mark.parametrize("direct", [False, True])
def test_a_file_cut_by_someone_else_at_any_time(tmp_path, monkeypatch, direct):
    """Each of 200 times the file is as it was, up to where it ended; no worker dies of SIGBUS.

    The system itself may show zeros behind the new end, but nothing else: memory that nothing was
    read into would show as 0xFF.
    """
    monkeypatch.setattr(functions, "MIN_FROMFILE", 1)
    monkeypatch.setattr(reading, "CHUNK", 4096)
    path = tmp_path / "data.bin"
    rng = np.random.default_rng(0)
    values = rng.integers(1, 128, 64 * 4096, np.uint8)
    pool = MapReduce("thread", np=2)
    barrier = threading.Barrier(2)
    ends = rng.integers(0, values.size, 200).tolist()

    def cut():
        with contextlib.suppress(threading.BrokenBarrierError):  # the test has failed
            for end in ends:
                barrier.wait()
                os.truncate(path, end)
                barrier.wait()

    cutter = threading.Thread(target=cut)
    cutter.start()
    n_cut = 0
    try:
        for end in ends:
            values.tofile(path)
            sharedarray.full(values.size, 0xFF, np.uint8)  # the memory that the result may get
            barrier.wait()
            result = np.asarray(fromfile(path, "u1", pool=pool, direct=direct))
            barrier.wait()
            kept, behind = result[:end], result[end:]
            assert np.array_equal(kept, values[: kept.size])
            assert ((behind == values[end:][: behind.size]) | (behind == 0)).all()
            n_cut += result.size < values.size
    finally:
        barrier.abort()
        cutter.join()
    assert n_cut, "the file was never cut early enough"


def test_a_file_that_grows_gives_what_it_had(tmp_path, monkeypatch):
    monkeypatch.setattr(functions, "MIN_FROMFILE", 1)
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(100))
    preadv = os.preadv

    def growing(descriptor, buffers, offset):
        with path.open("ab") as file:
            file.write(bytes(1000))
        return preadv(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", growing)
    assert fromfile(path, "u1", strict=True).shape == (100,)
    assert path.stat().st_size == 1100


def test_no_room_for_a_named_segment_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / "data.bin"
    np.ones(functions.MIN_FROMFILE, np.uint8).tofile(path)

    def full(descriptor, offset, n_bytes):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    before = sharedarray.list_named()
    with path.open("rb") as file:
        with pytest.raises((OSError, MemoryError)):
            fromfile(file, "u1", name="no-room", pool=Untouched())
        assert file.tell() == 0
    with pytest.raises((OSError, MemoryError)):
        fromfiles([path], "u1", name="no-room", pool=Untouched())
    assert sharedarray.list_named() == before


@pytest.mark.parametrize("n", [1000, 1 << 24])  # NumPy reads, workers read
def test_a_name_is_not_left_to_what_never_came_about(tmp_path, monkeypatch, n):
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(n))
    before = sharedarray.list_named()

    def fail(*args):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    pool = MapReduce("serial")
    for read in (
        lambda: fromfile(path, "u1", n + 1, strict=True, name="half", pool=pool),
        lambda: fromfile(path, "u1", name="half", pool=pool, progress=fail),
        lambda: fromfiles([path], "u1", name="half", pool=pool, progress=fail),
    ):
        with pytest.raises((OSError, EOFError)):
            read()
        assert sharedarray.list_named() == before
    receiver, sender = os.pipe()
    os.close(sender)
    with os.fdopen(receiver, "rb") as file, pytest.raises(EOFError):
        fromfile(file, "u1", 5, strict=True, name="half")
    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(OSError, match="error"):
        fromfiles([path], "u1", name="half", pool=pool)
    assert sharedarray.list_named() == before


def test_a_name_that_is_taken_stays(tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(b"abc")
    taken = sharedarray.full(3, 7, "u1", name="taken")
    try:
        for read in (fromfile, lambda path, *args, **kwargs: fromfiles([path], *args, **kwargs)):
            with pytest.raises(FileExistsError):
                read(path, "u1", name="taken")
        assert sharedarray.attach("taken").tolist() == taken.tolist()
    finally:
        sharedarray.unlink("taken")


@pytest.mark.parametrize("module", [bz2, lzma])
def test_compressed_files_are_refused(tmp_path, module):
    path = tmp_path / "data"
    with module.open(path, "wb") as file:
        file.write(bytes(1000))
    with module.open(path) as file, pytest.raises(TypeError, match="compressed"):
        fromfile(file, "u1")


def test_files_without_a_size_count_as_empty(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    assert fromfiles(["/proc/version", path], "u1").tobytes() == b"abc"
    with pytest.raises(EOFError, match="/proc/version"):
        fromfiles(["/proc/version", path], "u1", 3, strict=True)
