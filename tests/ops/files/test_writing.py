import ctypes
import errno
import os
import threading
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray import MapReduce
from sharedarray_ops.files import writing
from tests.ops.support import POOLS, RecordingPool, UnorderedPool, each_pool, strided, unaligned

CHUNK, SCRATCH = 64, 16  # bytes
SIZES = [0, 1, 63, 64, 65, 127, 128, 129, 1009]


@contextmanager
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "CHUNK", CHUNK)
        patch.setattr(writing, "SCRATCH", SCRATCH)
        yield patch


@contextmanager
def opened(content=b""):
    descriptor = os.memfd_create("data")
    try:
        os.pwrite(descriptor, content, 0)
        yield descriptor
    finally:
        os.close(descriptor)


def content_of(descriptor):
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def numbers(n, dtype="u1"):
    return np.random.default_rng(n).integers(0, 256, n * np.dtype(dtype).itemsize, "u1").view(dtype)


def arrays():
    cube = numbers(4 * 5 * 7, "i2").reshape(4, 5, 7)
    records = np.zeros((6, 5), [("a", "u1"), ("b", ">f8")])
    records["a"], records["b"] = 3, np.arange(30).reshape(6, 5)
    return {
        "contiguous": cube,
        "fortran": np.asfortranarray(cube),
        "permuted": cube.transpose(1, 2, 0),
        "reversed": cube[::-1, :, ::-1],
        "strided": strided(numbers(211), 3),
        "broadcast": np.broadcast_to(numbers(5, "f8"), (7, 5)),
        "unaligned": unaligned(numbers(100, "f8")),
        "records": records,
        "fields": records["b"],
        "records, fortran": np.asfortranarray(records),
        "wide items": np.asfortranarray(numbers(12, "S100").reshape(3, 4)),
        "scalar": np.array(1.5),
        "times": np.arange(40).astype("M8[s]")[::2],
        "byte-swapped": numbers(40, ">u4").reshape(5, 8).T,
        "empty": np.zeros((3, 0, 2)),
        "empty, strided": np.zeros((0, 8))[:, ::2],
        "no bytes": np.zeros((4, 3), "S0"),
        "no bytes, strided": np.zeros((4, 6), "V0")[:, ::2],
    }


@each_pool
@pytest.mark.parametrize("layout", arrays())
def test_writes_what_tobytes_gives(layout, pool):
    a = arrays()[layout]
    with small(), opened(b"#" * 2000) as descriptor:
        os.lseek(descriptor, 77, os.SEEK_SET)
        writing.write(a, descriptor, 13, pool())
        expected = b"#" * 13 + a.tobytes() + b"#" * (1987 - a.nbytes)
        assert content_of(descriptor) == expected
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == 77


@pytest.mark.parametrize("n", SIZES)
def test_sizes_around_a_chunk(n):
    for a in (numbers(n), numbers(2 * n)[::2], numbers(3 * n).reshape(3, n).T):
        with small(), opened() as descriptor:
            writing.write(a, descriptor, 0, UnorderedPool(3, seed=n))
            assert content_of(descriptor) == a.tobytes()


@given(
    shape=st.lists(st.integers(0, 7), min_size=1, max_size=4),
    dtype=st.sampled_from(["u1", "f8", "S5", "S40"]),
    seed=st.integers(0, 99),
    scratch=st.integers(1, 200),
)
def test_any_layout(shape, dtype, seed, scratch):
    rng = np.random.default_rng(seed)
    a = numbers(int(np.prod(shape)), dtype).reshape(shape).transpose(rng.permutation(len(shape)))
    a = a[tuple(slice(None, None, int(rng.choice([-2, -1, 1, 2]))) for _ in shape)]
    with small() as patch, opened() as descriptor:
        patch.setattr(writing, "SCRATCH", scratch)
        writing.write(a, descriptor, 3, UnorderedPool(2, seed))
        assert content_of(descriptor)[3:] == a.tobytes()
        assert b"".join(part.tobytes() for part in writing.in_order(a)) == a.tobytes()


def test_only_one_tile_of_another_layout_is_copied_at_a_time(monkeypatch):
    """The worker's extra memory is bounded: no part that is written is larger than the scratch."""
    sizes, pwrite = [], os.pwrite

    def recording(descriptor, part, offset):
        sizes.append(len(part))
        return pwrite(descriptor, part, offset)

    with small() as patch, opened() as descriptor:
        patch.setattr(os, "pwrite", recording)
        writing.write(numbers(1000, "i4").reshape(25, 40).T, descriptor, 0, UnorderedPool(2))
    assert max(sizes) == SCRATCH
    assert sum(sizes) == 4000


def test_results_are_the_bytes_of_chunks():
    for a in (numbers(1009), numbers(1000, "i4").reshape(25, 40).T):
        pool, done = RecordingPool(2), []

        class Watched:
            np = 2

            def map(self, func, sequence, pool=pool, done=done):
                done += pool.map(func, sequence)
                return done

        with small(), opened() as descriptor:
            writing.write(a, descriptor, 0, Watched())
        assert sum(done) == a.nbytes
        assert max(done) <= CHUNK
        assert len(done) >= a.nbytes // CHUNK


@each_pool
@pytest.mark.parametrize("at_most", [1, 7, 63])
def test_short_writes_go_on(pool, at_most):
    pwrite = os.pwrite
    with small() as patch, opened() as descriptor:
        patch.setattr(os, "pwrite", lambda fd, part, at: pwrite(fd, part[:at_most], at))
        for a in (numbers(150), numbers(100)[::2]):
            writing.write(a, descriptor, 0, pool())
            assert content_of(descriptor)[: a.nbytes] == a.tobytes()


@pytest.mark.parametrize("pool", ["bare", "thread-2"])
def test_an_error_of_the_system_comes_out(pool):
    def failing(descriptor, part, offset):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with small() as patch, opened() as descriptor:
        patch.setattr(os, "pwrite", failing)
        with pytest.raises(Exception, match="Input/output error") as caught:
            writing.write(numbers(200), descriptor, 0, POOLS[pool]())
    assert getattr(caught.value, "reason", caught.value).errno == errno.EIO


def test_a_file_that_takes_nothing_is_no_hang(monkeypatch):
    monkeypatch.setattr(os, "pwrite", lambda fd, part, at: 0)
    with opened() as descriptor, pytest.raises(OSError, match="nothing more"):
        writing.write(numbers(5), descriptor, 0, POOLS["bare"]())


def test_by_processes():
    with small(), opened() as descriptor:
        for a in (numbers(300), numbers(100, "i4").reshape(5, 20).T):
            writing.write(a, descriptor, 0, MapReduce("process", np=2))
            assert content_of(descriptor)[: a.nbytes] == a.tobytes()


def test_chunks_are_written_by_several_workers_at_a_time():
    """Two writes meet: neither goes on before the other has begun."""
    barrier, pwrite = threading.Barrier(2, timeout=30), os.pwrite

    def waiting(descriptor, part, offset):
        barrier.wait()
        return pwrite(descriptor, part, offset)

    a = numbers(2 * CHUNK)
    with small() as patch, opened() as descriptor:
        patch.setattr(os, "pwrite", waiting)
        writing.write(a, descriptor, 0, MapReduce("thread", np=2))
        assert content_of(descriptor) == a.tobytes()
        barrier = threading.Barrier(2, timeout=0.1)  # the twin: one worker never meets another
        with pytest.raises(threading.BrokenBarrierError):
            writing.write(a, descriptor, 0, POOLS["bare"]())


def test_a_worker_left_behind_writes_to_no_other_file():
    """After a second interrupt the caller closes the file while a worker is in its chunk."""
    left = []

    class Leaving:
        np = 2

        def map(self, func, sequence):
            left.append(lambda: func(sequence[0]))
            raise KeyboardInterrupt

    a = numbers(10)
    with opened() as descriptor:
        with pytest.raises(KeyboardInterrupt):
            writing.write(a, descriptor, 0, Leaving())
        copy = os.dup(descriptor)
    with opened() as other:
        assert other == descriptor
        left.pop()()
        assert content_of(other) == b""
    assert content_of(copy) == a.tobytes()
    os.close(copy)


@pytest.mark.parametrize("error", [None, ValueError("x"), SystemExit()], ids=str)
def test_no_descriptor_is_kept_by_an_exception(error):
    class Failing:
        np = 2

        def map(self, func, sequence):
            if error is not None:
                raise error
            return [func(item) for item in sequence]

    with opened() as descriptor:
        n_open = len(list(Path("/proc/self/fd").iterdir()))
        context = nullcontext() if error is None else pytest.raises(type(error))
        with context as caught:
            writing.write(numbers(10), descriptor, 0, Failing())
        assert caught is None or caught.tb is not None
        assert len(list(Path("/proc/self/fd").iterdir())) == n_open


# preallocate


def test_space_is_there_and_the_file_has_not_grown(tmp_path):
    with (tmp_path / "x").open("wb") as file:
        file.write(b"abc")
        file.flush()
        writing.preallocate(file.fileno(), 3, 1 << 20)
        status = os.fstat(file.fileno())
        assert status.st_size == 3
        if status.st_blocks == 0 or status.st_blocks * 512 < 1 << 20:
            pytest.skip("the file system has no fallocate")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_space_is_an_error(monkeypatch, code):
    monkeypatch.setattr(writing, "_fallocate", lambda: answering(code))
    with opened(b"abc") as descriptor:
        with pytest.raises(OSError, match="12345 bytes") as caught:
            writing.preallocate(descriptor, 0, 12345)
        assert caught.value.errno == code
        assert content_of(descriptor) == b"abc"


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODEV])
def test_other_refusals_are_quiet(monkeypatch, code):
    monkeypatch.setattr(writing, "_fallocate", lambda: answering(code))
    with opened() as descriptor:
        writing.preallocate(descriptor, 0, 100)
    monkeypatch.setattr(writing, "_fallocate", lambda: None)
    with opened() as descriptor:
        writing.preallocate(descriptor, 0, 100)


def test_a_signal_does_not_end_it(monkeypatch):
    codes = [errno.EINTR, errno.EINTR, errno.ENOSPC]
    monkeypatch.setattr(writing, "_fallocate", lambda: answering(*codes[:1], codes=codes))
    with opened() as descriptor, pytest.raises(OSError, match="not enough"):
        writing.preallocate(descriptor, 0, 100)
    assert codes == []


def answering(*code, codes=None):
    def function(*args):
        ctypes.set_errno(codes.pop(0) if codes is not None else code[0])
        return -1

    return function
