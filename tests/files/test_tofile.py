import gzip
import io
import os
import socket
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

import sharedarray
from sharedarray import MapReduce
from sharedarray.files import tofile as module
from sharedarray.files.tofile import tofile
from tests.files.writing_support import DATA, names, small_files
from tests.functions.support import layouts
from tests.ops.support import RecordingPool, UnorderedPool, each_pool


@pytest.fixture
def small():
    with small_files() as patch:
        yield patch


# the same bytes


@each_pool
@pytest.mark.parametrize("dtype", ["u1", ">i4", "f8", "M8[s]"])
def test_any_layout_by_any_pool(small, tmp_path, dtype, pool):
    values = DATA[: 60 * np.dtype(dtype).itemsize].view(dtype)
    for name, a in layouts(values, tmp_path):
        for b in (a, a.reshape(3, 4, 5).T, a.reshape(6, 10)[::2, ::-3], a[:0], a[0]):
            tofile(b, tmp_path / "x", pool=pool())
            assert (tmp_path / "x").read_bytes() == b.tobytes(), name


@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
def test_paths_and_array_likes(tmp_path, kind):
    path = kind(tmp_path / "x")
    for a in (sharedarray.arange(5), [1, 2, 3], 2.5, [[True]]):
        assert tofile(a, path) is None
        assert (tmp_path / "x").read_bytes() == np.asarray(a).tobytes()
    tofile(a=DATA, file=path, sep="", format="%s")
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("delta", [-1, 0, 1])
@pytest.mark.parametrize("is_copied", [False, True])
def test_around_the_real_thresholds(tmp_path, monkeypatch, delta, is_copied):
    n = 1 << 20
    monkeypatch.setattr(module, "MIN_TOFILE", 4 * n)
    a = np.zeros(n + delta, "u2")[::2] if is_copied else np.zeros(4 * n + delta, "u1")
    least = module.MIN_TOFILE_COPIED if is_copied else module.MIN_TOFILE
    pool = RecordingPool(2)

    tofile(a, tmp_path / "x", pool=pool)

    assert (tmp_path / "x").read_bytes() == a.tobytes()
    assert bool(pool.maps) is (a.nbytes >= least)


def test_large_arrays(tmp_path):
    a = np.random.default_rng(0).random((1500, 1003))
    for n_workers in (0, 1, 2, 3):
        for b in (a, a.T, a[:, ::2]):
            tofile(b, tmp_path / "x", pool=MapReduce(np=n_workers))
            assert np.array_equal(np.fromfile(tmp_path / "x"), b.reshape(-1))


@pytest.mark.parametrize("options", [(",",), (" ; ", "%.3f"), ("\n", ""), (",", "%d")])
def test_text_is_numpys(tmp_path, options):
    a = np.arange(6, dtype="f4").reshape(2, 3).T
    a.tofile(tmp_path / "expected", *options)
    tofile(a, tmp_path / "x", *options)
    with (tmp_path / "y").open("w") as file:
        file.write("a ")
        tofile(a, file, *options)
        file.write(" b")
    expected = (tmp_path / "expected").read_text()
    assert (tmp_path / "x").read_text() == expected
    assert (tmp_path / "y").read_text() == f"a {expected} b"


# file objects


BINARY = ["wb", "w+b", "r+b", "ab", "a+b"]
MODES = [*((mode, -1) for mode in [*BINARY, "w", "r+", "a"]), *((mode, 0) for mode in BINARY)]


@pytest.mark.parametrize(("mode", "buffering"), MODES)
@pytest.mark.parametrize("n", [0, 5, 1000])
def test_position_and_mode(small, tmp_path, mode, buffering, n):
    ends = []
    for write in (np.ndarray.tofile, tofile):
        path = tmp_path / "x"
        path.write_bytes(b"0123456789" * 200)
        with path.open(mode, buffering) as file:
            if "r" in mode:
                file.read(3)
            if "w" in mode:
                file.write("ab" if "b" not in mode else b"ab")
            write(DATA[:n], file)
            where = file.tell()
            write(DATA[n : 2 * n : 2], file)
            ends.append((where, file.tell()))
            file.write("more" if "b" not in mode else b"more")
            assert not file.closed
        ends.append(path.read_bytes())
    assert ends[:2] == ends[2:]


@pytest.mark.parametrize("step", [1, 2])
def test_what_is_appended_comes_in_order(small, tmp_path, step):
    """pwrite on such a descriptor appends whatever the offset: the pool must not do it."""
    with (tmp_path / "x").open("ab") as file:
        file.write(b"abc")
        tofile(DATA[::step], file, pool=UnorderedPool(3))
        assert file.tell() == 3 + DATA[::step].size
    assert (tmp_path / "x").read_bytes() == b"abc" + DATA[::step].tobytes()


def test_what_has_been_read_ahead_is_not_what_is_read_later(small, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes(3000))
    with path.open("r+b") as file:
        file.read(1)
        tofile(DATA[:500], file)
        file.seek(0)
        assert file.read() == b"\0" + DATA[:500].tobytes() + bytes(2499)


@pytest.mark.parametrize("make", [tempfile.TemporaryFile, tempfile.NamedTemporaryFile])
def test_temporary_files(small, make):
    with make() as file:
        file.write(b"abc")
        tofile(DATA, file)
        assert file.tell() == 3 + DATA.size
        file.seek(0)
        assert file.read() == b"abc" + DATA.tobytes()


def test_files_that_do_not_write_to_their_own_descriptor(small, tmp_path):
    with pytest.raises(TypeError, match="BytesIO"):
        tofile(DATA, io.BytesIO())
    with gzip.open(tmp_path / "x.gz", "wb") as file, pytest.raises(TypeError, match="tobytes"):
        tofile(DATA, file)
    with tempfile.SpooledTemporaryFile() as file, pytest.raises(TypeError):
        tofile(DATA, file)
    for file in (3, None, object()):
        with pytest.raises(TypeError):
            tofile(DATA, file)


def test_closed_and_read_only_files(tmp_path):
    (tmp_path / "x").write_bytes(b"old")
    with (tmp_path / "x").open("rb") as file, pytest.raises(OSError, match="writable"):
        tofile(DATA, file)
    for mode in ("wb", "w"):
        with (tmp_path / "x").open(mode) as file:
            pass
        with pytest.raises(ValueError, match="closed"):
            tofile(DATA, file)


# what is written to from the beginning to the end


def received(reader, write):
    """Return what a thread reads while `write` writes."""
    parts = []

    def read():
        while part := reader():
            parts.append(part)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        write()
    finally:
        thread.join()
    return b"".join(parts)


@pytest.mark.parametrize("buffering", [-1, 0])
@pytest.mark.parametrize("step", [1, 3])
def test_pipes(small, buffering, step):
    a = np.resize(DATA, 300_000)[::step]
    reading, writing_end = os.pipe()

    def write():
        with os.fdopen(writing_end, "wb", buffering) as file:
            file.write(b"abc")
            tofile(a, file)

    assert received(lambda: os.read(reading, 1 << 16), write) == b"abc" + a.tobytes()
    os.close(reading)


def test_pipes_of_text(small):
    reading, writing_end = os.pipe()
    with os.fdopen(writing_end, "w") as file:
        file.write("abc")
        tofile(DATA[:9], file)
    assert os.read(reading, 999) == b"abc" + DATA[:9].tobytes()
    os.close(reading)


def test_sockets(small):
    ours, theirs = socket.socketpair()
    a = np.resize(DATA, 1_000_000)

    def write():
        with ours, ours.makefile("wb") as file:
            tofile(a, file)

    with theirs:
        assert received(lambda: theirs.recv(1 << 16), write) == a.tobytes()


def test_fifos_and_devices_are_not_replaced(small, tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = []

    def read():
        if not reader:
            reader.append(path.open("rb", buffering=0))
        return reader[0].read(1 << 16)

    assert received(read, lambda: tofile(DATA, path)) == DATA.tobytes()
    reader[0].close()
    assert names(tmp_path) == ["fifo"]
    assert path.is_fifo()
    tofile(DATA, os.devnull)
    assert not Path(os.devnull).is_file()


def test_files_without_a_name(small):
    descriptor = os.memfd_create("x")
    tofile(DATA[::2], f"/proc/self/fd/{descriptor}")
    assert os.pread(descriptor, 9999, 0) == DATA[::2].tobytes()
    os.close(descriptor)


def test_pipes_that_do_not_wait(small):
    reading, writing_end = os.pipe()
    os.set_blocking(writing_end, False)
    with os.fdopen(writing_end, "wb", 0) as file, pytest.raises(BlockingIOError):
        tofile(np.zeros(1 << 20, "u1"), file)
    os.close(reading)


def test_pipes_without_a_reader(small):
    reading, writing_end = os.pipe()
    os.close(reading)
    with os.fdopen(writing_end, "wb", 0) as file, pytest.raises(BrokenPipeError):
        tofile(DATA, file)


# progress


@pytest.mark.parametrize("sep", ["", ","])
@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("n", [1, 20, 4096])
def test_progress_grows_to_the_number_of_bytes(small, tmp_path, n, step, sep):
    told = []
    a = DATA[:n:step]
    tofile(a, tmp_path / "x", sep, progress=told.append)
    assert told == sorted(set(told))
    assert told[-1] == a.nbytes
    if n == DATA.size and not sep:
        assert len(told) > 5
