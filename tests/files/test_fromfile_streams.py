"""fromfile of pipes, FIFOs and sockets, which NumPy refuses."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray import SharedArray
from sharedarray.files import progress, streams
from sharedarray.files.fromfile import fromfile
from tests.files.fromfile_support import DATA, DTYPES
from tests.functions.support import Untouched
from tests.ops.support import assert_same_bits

# More than a pipe holds, so that it is written while it is read.
LARGE = DATA * 50


@contextmanager
def sending(data, open_writer):
    """Write `data` from another thread; `open_writer` may wait for a reader."""

    def send():
        with open_writer() as file:
            file.write(data)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        sender.join()


@contextmanager
def piped(data, buffering=-1):
    receiver, sender = os.pipe()
    with (
        sending(data, lambda: os.fdopen(sender, "wb")),
        os.fdopen(receiver, "rb", buffering) as file,
    ):
        yield file


def expected(data, dtype, count=-1):
    n_items = len(data) // np.dtype(dtype).itemsize
    n_items = n_items if count < 0 else min(count, n_items)
    return np.frombuffer(data[: n_items * np.dtype(dtype).itemsize], dtype)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(streams, "BLOCK", 1000)
    monkeypatch.setattr(streams, "PIECE", 64)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.usefixtures("small_blocks")
def test_a_pipe_is_read_to_its_end(dtype):
    with piped(DATA) as file:
        result = fromfile(file, dtype, pool=Untouched())
    assert type(result) is SharedArray
    assert_same_bits(result, expected(DATA, dtype))


@pytest.mark.parametrize("n", [0, 1, 999, 1000, 1001, 2000, 4099])
@pytest.mark.parametrize("buffering", [-1, 0])
@pytest.mark.usefixtures("small_blocks")
def test_sizes_around_a_block(n, buffering):
    with piped(DATA[:n], buffering) as file:
        assert_same_bits(fromfile(file, "u1"), expected(DATA[:n], "u1"))


def test_a_pipe_that_is_written_meanwhile():
    with piped(LARGE) as file:
        assert_same_bits(fromfile(file, ">u2"), expected(LARGE, ">u2"))


@given(
    n=st.integers(0, 300),
    count=st.integers(-2, 200),
    offset=st.integers(0, 320),
    n_before=st.integers(0, 20),
    buffering=st.sampled_from([-1, 0, 16]),
    dtype=st.sampled_from(["u1", "i2", "(3,)u1", "S5"]),
)
def test_count_and_offset(n, count, offset, n_before, buffering, dtype):
    """The next read goes on behind the last item that was asked for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "BLOCK", 50)
        patch.setattr(streams, "PIECE", 7)
        with piped(DATA[:n], buffering) as file:
            assert file.read(n_before) == DATA[: min(n, n_before)]
            rest = DATA[:n][n_before + offset :]
            assert_same_bits(
                fromfile(file, dtype, count, offset=offset), expected(rest, dtype, count)
            )
            n_taken = max(0, count) * np.dtype(dtype).itemsize if count >= 0 else n
            assert file.read() == rest[n_taken:]


def test_a_fifo_by_its_path(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with sending(LARGE, lambda: path.open("wb")):
        assert_same_bits(fromfile(path, "u1"), expected(LARGE, "u1"))


@pytest.mark.parametrize("buffering", [None, 0])
def test_sockets(buffering):
    left, right = socket.socketpair()
    with (
        right,
        sending(LARGE, lambda: left.makefile("wb")),
        right.makefile("rb", buffering) as file,
    ):
        left.close()  # the file keeps it open until all is sent
        assert_same_bits(fromfile(file, "u1", 1000), expected(LARGE[:1000], "u1"))
        assert_same_bits(fromfile(file, "i2"), expected(LARGE[1000:], "i2"))


def test_strict_names_what_was_found():
    with piped(DATA[:21]) as file, pytest.raises(EOFError, match=r"expected 6 items.*found 5"):
        fromfile(file, "i4", 6, strict=True)
    with piped(DATA[:21]) as file, pytest.raises(EOFError, match="found 1 bytes more than 5"):
        fromfile(file, "i4", strict=True)
    with piped(DATA[:20]) as file:
        assert_same_bits(fromfile(file, "i4", strict=True), expected(DATA[:20], "i4"))


@pytest.mark.parametrize(
    ("error", "kwargs"),
    [
        (OSError, {"offset": -1}),
        (ValueError, {"dtype": object}),
        (ValueError, {"dtype": "S0"}),
        (TypeError, {"count": 1.0}),
        (OSError, {"sep": " "}),
    ],
)
def test_bad_arguments_lose_nothing(error, kwargs):
    with piped(DATA[:100], 0) as file:
        with pytest.raises(error):
            fromfile(file, **{"dtype": "u1", **kwargs})
        assert file.read(100) == DATA[:100]


def test_a_pipe_that_does_not_wait_loses_nothing():
    receiver, sender = os.pipe()
    with os.fdopen(sender, "wb", 0) as sending_end, os.fdopen(receiver, "rb") as file:
        sending_end.write(b"abc")
        os.set_blocking(receiver, False)
        with pytest.raises(BlockingIOError):
            fromfile(file, "u1")
        assert file.read() == b"abc"


def test_a_socket_that_times_out():
    left, right = socket.socketpair()
    with left, right, right.makefile("rb") as file:
        right.settimeout(0)
        with pytest.raises(BlockingIOError):
            fromfile(file, "u1")
        right.settimeout(0.001)
        with pytest.raises(TimeoutError):
            fromfile(file, "u1", 5)


def test_an_error_of_progress_ends_the_reading():
    class BrokenError(OSError):
        pass

    with piped(DATA, 0) as file:
        reads = []

        def report(n_bytes):
            reads.append(n_bytes)
            raise BrokenError

        with pytest.raises(BrokenError):
            fromfile(file, "u1", 4099, progress=report)
    assert len(reads) == 1


def test_progress_of_a_stream(small_blocks, monkeypatch):
    monkeypatch.setattr(progress, "REPORT_NBYTES", 1000)
    for count in (-1, 4099):
        told = []
        with piped(DATA) as file:
            fromfile(file, "u1", count, progress=told.append)
        assert told == sorted(set(told))
        assert told[-1] == 4099
        assert len(told) <= (5 if count < 0 else 257)
