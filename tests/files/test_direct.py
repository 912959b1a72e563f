"""`direct`: the same bytes past the page cache, and through it where the file system refuses."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import tempfile

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sharedarray import MapReduce
from sharedarray.files import fromfile as functions
from sharedarray.files.fromfile import fromfile
from sharedarray.files.fromfiles import fromfiles
from sharedarray_ops.files import directio, reading
from sharedarray_ops.files.directio import ALIGN
from tests.ops.support import BarePool, UnorderedPool, assert_same_bits, canaries, outcome

SIZE = 20 * ALIGN + 1234
DATA = np.random.default_rng(0).integers(0, 256, SIZE, np.uint8).tobytes()
O_DIRECT = getattr(os, "O_DIRECT", 0)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(functions, "MIN_FROMFILE", 1)
    monkeypatch.setattr(reading, "CHUNK", 4 * ALIGN)
    monkeypatch.setattr(directio, "BOUNCE", 2 * ALIGN)
    return monkeypatch


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(DATA)
    return path


def is_direct(descriptor):
    return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & O_DIRECT)


class Reads:
    """Take the place of os.preadv: note the direct reads, and do with them what a test wants."""

    def __init__(self, monkeypatch, do=None):
        self.direct = []  # offset, address, bytes
        self._preadv = os.preadv
        self._do = do or self._preadv
        monkeypatch.setattr(os, "preadv", self)

    def __call__(self, descriptor, buffers, offset):
        if not is_direct(descriptor):
            return self._preadv(descriptor, buffers, offset)
        (buffer,) = (np.frombuffer(b, np.uint8) for b in buffers)
        self.direct.append((offset, buffer.ctypes.data, buffer.size))
        return self._do(descriptor, buffers, offset)


@pytest.fixture
def reads(small, data):
    """Note the reads of a file system that lets one read directly."""
    try:
        descriptor = os.open(data, os.O_RDONLY | os.O_DIRECT)
        try:
            with mmap.mmap(-1, ALIGN) as room:
                os.preadv(descriptor, [room], 0)
        finally:
            os.close(descriptor)
    except (OSError, AttributeError):
        pytest.skip("no direct reading on the file system of the tests")
    return Reads(small)


@given(
    size=st.integers(0, SIZE),
    count=st.integers(-1, SIZE),
    offset=st.integers(0, SIZE) | st.integers(0, 20).map(lambda n: n * ALIGN),
    dtype=st.sampled_from(["u1", "i2", ">f8", "(3,)u1", "S5"]),
    chunk=st.sampled_from([64, 5000, ALIGN, 3 * ALIGN, 1 << 20]),
    bounce=st.sampled_from([ALIGN, 3 * ALIGN]),
)
@example(size=0, count=-1, offset=1, dtype="i2", chunk=64, bounce=ALIGN)
def test_any_range(size, count, offset, dtype, chunk, bounce):
    with tempfile.NamedTemporaryFile() as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(functions, "MIN_FROMFILE", 1)
        patch.setattr(reading, "CHUNK", chunk)
        patch.setattr(directio, "BOUNCE", bounce)
        file.write(DATA[:size])
        file.flush()
        pool = UnorderedPool(3, seed=chunk)
        expected = outcome(lambda: np.fromfile(file.name, dtype, count, offset=offset))
        for read in (fromfile, lambda path, *args, **kwargs: fromfiles([path], *args, **kwargs)):
            result = outcome(
                lambda read=read: read(
                    file.name, dtype, count, offset=offset, direct=True, pool=pool
                )
            )
            assert result[0] == expected[0]
            if result[0] == "returned":
                assert_same_bits(result[1], expected[1])
        with canaries(size, np.uint8) as out:  # askew to every block
            n_read = reading.read(file.fileno(), offset, out[3:], pool, direct=True)
            there = DATA[offset:size][: out[3:].size]
            assert out[3 : 3 + n_read].tobytes() == there


@pytest.mark.parametrize("offset", [0, 1, 512, ALIGN, 4 * ALIGN, 5 * ALIGN + 7])
def test_the_middle_is_read_directly_and_aligned(data, reads, offset):
    assert_same_bits(
        fromfile(data, "u1", offset=offset, direct=True, pool=BarePool()),
        np.fromfile(data, "u1", offset=offset),
    )
    for read in reads.direct:
        assert [number % ALIGN for number in read] == [0, 0, 0]
    middle = range(offset + -offset % ALIGN, SIZE - SIZE % ALIGN, ALIGN)
    blocks = [at for start, _, size in reads.direct for at in range(start, start + size, ALIGN)]
    assert sorted(blocks) == list(middle)


def test_who_does_not_ask_for_it_gets_none(data, reads):
    fromfile(data, "u1", pool=BarePool())
    assert reads.direct == []


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_by_workers(small, data, backend):
    for offset in (0, 3):
        told = []
        result = fromfile(
            data, "u1", offset=offset, direct=True, pool=MapReduce(backend, 2), progress=told.append
        )
        assert_same_bits(result, np.fromfile(data, "u1", offset=offset))
        assert told[-1] == SIZE - offset


def test_a_file_object_stays_as_it_was(small, data):
    """Its descriptor, which it may share, reads through the page cache as before."""
    with data.open("r+b") as file:
        file.write(b"new")
        file.seek(ALIGN)
        result = fromfile(file, "u1", ALIGN, direct=True)
        assert_same_bits(result, np.frombuffer(DATA[ALIGN : 2 * ALIGN], "u1"))
        assert file.tell() == 2 * ALIGN
        assert not is_direct(file.fileno())
        file.seek(0)
        assert fromfile(file, "u1", 5000, direct=True)[:3].tobytes() == b"new"


def test_a_file_without_a_name(small):
    with tempfile.TemporaryFile() as file:
        file.write(DATA)
        file.seek(0)
        assert_same_bits(fromfile(file, "u1", direct=True), np.frombuffer(DATA, "u1"))


# refusals


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_system_that_refuses_to_open(small, data, code):
    real_open = os.open
    refused = []

    def refusing(path, flags, *args, **kwargs):
        if flags & O_DIRECT:
            refused.append(path)
            raise OSError(code, os.strerror(code))
        return real_open(path, flags, *args, **kwargs)

    small.setattr(os, "open", refusing)
    assert_same_bits(fromfile(data, "u1", direct=True), np.frombuffer(DATA, "u1"))
    assert_same_bits(fromfiles([data, data], "u1", direct=True), np.frombuffer(DATA * 2, "u1"))
    assert len(refused) >= 3


def test_a_platform_without_it(small, data):
    small.delattr(os, "O_DIRECT", raising=False)
    assert_same_bits(fromfile(data, "u1", direct=True), np.frombuffer(DATA, "u1"))


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EIO])
@pytest.mark.parametrize("n_allowed", [0, 1, 3])
@pytest.mark.parametrize("offset", [0, 9])
def test_a_file_system_that_refuses_to_read(data, reads, monkeypatch, code, n_allowed, offset):
    def refusing(descriptor, buffers, at):
        if len(refusals.direct) > n_allowed:
            raise OSError(code, os.strerror(code))
        return reads(descriptor, buffers, at)

    refusals = Reads(monkeypatch, refusing)
    result = fromfile(data, "u1", offset=offset, direct=True, pool=BarePool())
    assert_same_bits(result, np.fromfile(data, "u1", offset=offset))
    assert len(refusals.direct) > n_allowed


@pytest.mark.parametrize("at_most", [512, ALIGN, 5000])
@pytest.mark.parametrize("offset", [0, 9])
def test_short_reads_go_on(data, reads, monkeypatch, at_most, offset):
    def short(descriptor, buffers, at):
        n_read = reads(descriptor, buffers, at)
        buffers[0][at_most:] = bytes(max(0, n_read - at_most))
        return min(n_read, at_most)

    Reads(monkeypatch, short)
    result = fromfile(data, "u1", offset=offset, direct=True, pool=BarePool())
    assert_same_bits(result, np.fromfile(data, "u1", offset=offset))


@pytest.mark.parametrize("n_calls", [0, 1, 2])
@pytest.mark.parametrize("n_left", [0, 100, ALIGN, 3 * ALIGN + 5, 9 * ALIGN])
def test_a_file_that_shrinks(data, reads, monkeypatch, n_calls, n_left):
    def shrinking(descriptor, buffers, at):
        if len(shrunk.direct) == n_calls + 1:
            os.truncate(data, n_left)
        return reads(descriptor, buffers, at)

    for pool in (BarePool(), UnorderedPool(3)):
        data.write_bytes(DATA)
        shrunk = Reads(monkeypatch, shrinking)
        result = fromfile(data, "u1", direct=True, pool=pool)
        # Parts that were read before it shrank may follow what is there, but not behind a gap.
        assert n_left <= result.size < SIZE
        assert_same_bits(result, np.frombuffer(DATA[: result.size], "u1"))
        data.write_bytes(DATA)
        shrunk = Reads(monkeypatch, shrinking)
        with pytest.raises(EOFError, match="truncated"):
            fromfile(data, "u1", direct=True, strict=True, pool=pool)


def test_an_error_of_the_disk_comes_out(small, data):
    def failing(descriptor, buffers, at):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    small.setattr(os, "preadv", failing)
    with pytest.raises(OSError, match="Input/output error"):
        fromfile(data, "u1", direct=True, pool=MapReduce(np=2))


# the page cache


def is_cached(descriptor, offset):
    """Return whether a page is in the page cache; may have it and those behind it read in."""
    try:
        os.preadv(descriptor, [bytearray(1)], offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    return True


def test_the_page_cache_stays_as_it_was(tmp_path):
    path = tmp_path / "large.bin"
    n = 2 * functions.MIN_FROMFILE
    np.ones(n, np.uint8).tofile(path)
    with path.open("rb", buffering=0) as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        try:
            if is_cached(file.fileno(), n // 4):
                pytest.skip("the file system keeps its files in the page cache")
        except (OSError, AttributeError):
            pytest.skip("nothing tells whether a page is in the page cache")
        for direct in (True, False):
            file.seek(0)
            assert fromfile(file, "u1", direct=direct).all()
            assert is_cached(file.fileno(), n // 2 + n // 8) is not direct
