"""Frames between a worker's end and the coordinator's, both in this process."""

from __future__ import annotations

import errno
import mmap
import os
import pickle
import socket
import threading
from pathlib import Path

import numpy as np
import pytest

import sharedarray
from sharedarray.memory import pickling, registry
from sharedarray.memory.pickling import loading, received_descriptor
from sharedarray.workers import transport
from sharedarray.workers.transport import INLINE_MAX_NBYTES
from tests.workers.transport_ends import HEADER_NBYTES, LARGE, Ends

pytestmark = pytest.mark.skipif(not hasattr(socket, "send_fds"), reason="no descriptors in sockets")


@pytest.fixture
def ends():
    ends = Ends()
    yield ends
    ends.close()


def open_descriptors():
    return {int(link.name) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}


# The largest number of bytes that goes through the socket.
LIMIT = next(
    n
    for n in range(INLINE_MAX_NBYTES, 0, -1)
    if len(pickle.dumps(bytes(n), 5)) <= INLINE_MAX_NBYTES
)
SIZES = [0, 1, 1000, LIMIT - 1, LIMIT, LIMIT + 1, LARGE, 8 << 20]


# what arrives


@pytest.mark.parametrize("size", SIZES)
def test_bytes_arrive_as_they_are(ends, size):
    report = np.arange(size, dtype="u1").tobytes()
    ends.worker.send(report)
    assert ends.received() == [report]


@pytest.mark.parametrize("size", SIZES)
def test_nothing_larger_than_the_limit_goes_through_the_socket(ends, size):
    ends.worker.send(bytes(size))
    n_sent = len(ends.ours.recv(16 << 20))
    if size > LIMIT:
        assert n_sent == HEADER_NBYTES
    else:
        assert size < n_sent <= HEADER_NBYTES + INLINE_MAX_NBYTES


def test_many_parts_that_are_small_are_spooled_once_they_are_large_together(ends):
    report = [bytes([i]) * 1000 for i in range(200)]
    ends.worker.send(report)
    (frame,) = ends.frames()
    assert frame[1] == b""
    assert ends.coordinator.load(frame) == report


def test_small_and_large_reports_keep_their_order(ends):
    reports = ["small", bytes(LARGE), "small again", None, 3]
    for report in reports:
        ends.worker.send(report)
    ends.worker.end()
    assert ends.received() == [*reports, None]  # the last one stands for the end
    assert ends.coordinator.has_ended


N = 40_000
ARRAYS = {
    "contiguous": np.arange(N),
    "small": np.arange(3),
    "empty": np.zeros((0, N)),
    "without dimensions": np.array(3.5),
    "every second": np.arange(2 * N)[::2],
    "backward": np.arange(N)[::-1],
    "Fortran order": np.asfortranarray(np.arange(N).reshape(200, 200)),
    "transposed": np.arange(3 * N).reshape(200, 200, 3).transpose(1, 0, 2),
    "broadcast": np.broadcast_to(np.float64(3), (N,)),
    "structured": np.ones(N, "i4,f8,U3"),
    "subarrays": np.ones(N, "(2,3)i4"),
    "bytes swapped": np.arange(N, dtype=">f8"),
    "complex": np.ones(N, complex),
    "bool": np.arange(N) % 3 == 0,
    "text": np.full(N, "abc"),
    "dates": np.arange(N).astype("M8[s]"),
    "void": np.zeros(N, "V7"),
    "objects": np.array([1, None, "x"] * N, object),
    "a record array": np.ones(N, "i4,f8").view(np.recarray),
    "masked": np.ma.masked_array(np.arange(N), np.arange(N) % 2),
}


@pytest.mark.parametrize("is_read_only", [False, True])
@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_arrays_arrive_as_pickle_makes_them(ends, array, is_read_only):
    array = array[...]
    array.flags.writeable = not is_read_only and array.base.flags.writeable
    expected = pickle.loads(pickle.dumps(array, 5))
    ends.worker.send([array], [array])
    ((result,),) = ends.received()
    assert type(result) is type(array)
    assert result.dtype == array.dtype
    assert result.strides == expected.strides
    assert result.flags.writeable == expected.flags.writeable
    np.testing.assert_array_equal(result, array)


def test_result_keeps_its_values_when_the_spool_serves_again(ends):
    results = []
    for i in range(3):
        ends.worker.send(np.full(LARGE, i, "u1"))
        results += ends.received()
    assert [set(result.tolist()) for result in results] == [{0}, {1}, {2}]


def test_shared_array_is_adopted_from_results_only(ends):
    a = sharedarray.arange(LARGE)
    ends.worker.send([a], [a])
    (frame,) = ends.frames()
    assert frame[1].count(b"_adopted") == len(frame[2]) == 1
    assert b"_adopted" not in pickle.dumps(a)
    assert registry.owner(ends.coordinator.load(frame)[0]) is registry.owner(a)


class Document:
    """What has a descriptor sent with it."""

    def __init__(self, file, size):
        self.file = file
        self.size = size


@pytest.fixture
def reduced_by(monkeypatch):
    """Have documents in results reduced by a function of the document and `send_descriptor`."""

    def reduce_by(reduce):
        class Pickler(pickling.Pickler):
            def reducer_override(self, obj):
                def send_descriptor(number):
                    self.descriptors.append(number)
                    return len(self.descriptors) - 1

                is_document = isinstance(obj, Document)
                return reduce(obj, send_descriptor) if is_document else NotImplemented

        monkeypatch.setattr(transport, "Pickler", Pickler)

    return reduce_by


def text_and_size(position, content):
    descriptor = received_descriptor(position)
    return os.pread(descriptor.number, 100, 0).decode(), len(content)


@pytest.mark.parametrize("size", [0, LARGE])
def test_descriptors_travel_with_their_result(ends, size, tmp_path, reduced_by):
    def reduce(document, send_descriptor):
        return text_and_size, (send_descriptor(document.file.fileno()), bytes(document.size))

    def opened(i):
        (tmp_path / str(i)).write_text(f"document {i}")
        return (tmp_path / str(i)).open("rb")

    reduced_by(reduce)
    files = [opened(i) for i in range(3)]
    before = open_descriptors()
    for numbers in ([0], [1, 2], [], [2, 0, 2]):
        ends.worker.send([Document(files[i], size) for i in numbers])
        assert ends.received() == [[(f"document {i}", size) for i in numbers]]
    assert len(open_descriptors() - before) == (2 if size else 0)  # the spool's
    ends.worker.send([Document(files[0], 0)])
    for file in files:
        file.close()
    assert ends.received() == [[("document 0", 0)]]


def test_descriptors_of_a_result_that_nobody_loads_are_closed(ends, reduced_by):
    reduced_by(lambda document, send: (str, (send(document.file.fileno()),)))
    before = open_descriptors()
    with Path(os.devnull).open() as file:
        ends.worker.send([Document(file, 0)] * 5)
    frames = ends.frames()
    assert len(open_descriptors() - before) == 1  # the same object is pickled once
    del frames
    assert open_descriptors() == before


def test_result_that_is_loaded_while_another_one_is_leaves_that_its_descriptors():
    with loading(["of the outer result"]):
        with loading([]):
            pass
        assert received_descriptor(0) == "of the outer result"
    assert received_descriptor(0) is None


# fragments


def test_frame_is_there_when_its_last_byte_is(ends):
    data = ends.raw("abc")
    for i in range(len(data)):
        assert ends.frames() == []
        ends.theirs.send(data[i : i + 1])
    assert ends.received() == ["abc"]


@pytest.mark.parametrize("n_bytes", [1, HEADER_NBYTES - 1, HEADER_NBYTES, HEADER_NBYTES + 1])
def test_part_of_a_second_frame_waits_for_the_rest(ends, n_bytes):
    first, second = ends.raw("first"), ends.raw("second")
    ends.theirs.send(first + second[:n_bytes])
    assert ends.received() == ["first"]
    ends.theirs.send(second[n_bytes:])
    assert ends.received() == ["second"]


def test_many_frames_in_one_piece(ends):
    ends.theirs.send(ends.raw(*range(100)))
    assert ends.received() == list(range(100))


# the spool


def test_spool_is_one_file_that_serves_again_and_again(ends):
    spools = set()
    for i in range(5):
        ends.worker.send(bytes(LARGE + i))
        spools.add((ends.spool, os.fstat(ends.spool).st_ino))
        assert ends.received() == [bytes(LARGE + i)]
    assert len(spools) == 1


def test_shorter_report_after_a_longer_one(ends):
    for size in (4 * LARGE, LARGE):
        ends.worker.send(bytes([7]) * size)
        assert ends.received() == [bytes([7]) * size]


def test_spool_waits_until_the_coordinator_has_read_it(ends):
    first, second = b"1" * LARGE, b"2" * LARGE
    ends.worker.send(first)
    sender = threading.Thread(target=ends.worker.send, args=(second,), daemon=True)
    sender.start()
    sender.join(0.1)  # in vain
    frames = ends.frames()
    assert sender.is_alive()
    assert len(frames) == 1
    assert ends.coordinator.load(frames[0]) == first
    sender.join(20)
    assert ends.received() == [second]


def test_small_reports_do_not_wait_for_the_spool(ends):
    ends.worker.send(bytes(LARGE))
    ends.worker.send("small")
    assert ends.received() == [bytes(LARGE), "small"]


def test_claim_that_comes_before_the_free_spool_is_kept(ends):
    ends.worker.send(bytes(LARGE))
    ends.coordinator.send("claim 1")
    ends.received()
    ends.coordinator.send("claim 2")
    ends.worker.send(bytes(LARGE + 1))  # takes in what came before FREE
    assert ends.received() == [bytes(LARGE + 1)]
    assert [ends.worker.next_claim() for _ in range(2)] == ["claim 1", "claim 2"]


@pytest.mark.parametrize(("size", "is_kept"), [(32 << 20, True), (65 << 20, False)])
def test_spool_gives_back_its_pages_where_it_was_very_large(ends, size, is_kept):
    ends.worker.send(bytes(size))
    assert os.fstat(ends.spool).st_size > size
    (result,) = ends.received()
    assert len(result) == size
    assert (os.fstat(ends.spool).st_size > 0) == is_kept
    ends.worker.send(b"7" * LARGE)
    assert ends.received() == [b"7" * LARGE]


@pytest.mark.parametrize(
    "refusal", [errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EINVAL, None], ids=str
)
def test_spool_without_memfd_is_a_file_without_a_name(ends, refusal, monkeypatch, tmp_path):
    def refuse(*_):
        raise OSError(refusal, os.strerror(refusal))

    if refusal is None:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    else:
        monkeypatch.setattr(os, "memfd_create", refuse, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for i in range(3):
        report = bytes([i]) * LARGE
        ends.worker.send(report)
        assert ends.received() == [report]
    assert os.fstat(ends.spool).st_nlink == 0
    assert not os.get_inheritable(ends.spool)
    assert list(tmp_path.iterdir()) == []


def test_descriptors_are_closed_on_exec_and_each_end_has_one(ends):
    before = open_descriptors()
    for _ in range(5):
        ends.worker.send(bytes(LARGE))
        ends.received()
    new = open_descriptors() - before
    assert len(new) == 2
    assert not any(map(os.get_inheritable, new))
    ends.coordinator.close()
    assert open_descriptors() - before == {ends.spool}


# lengths


def test_lengths_have_64_bits():
    header = bytes(HEADER_NBYTES - 8) + b"\xff" * 8
    assert transport._HEADER.unpack(header)[-1] == 2**64 - 1


def test_report_beyond_4_gib_is_written_as_a_whole(ends, monkeypatch):
    # Pages that are never touched, and a kernel that takes less than 2 GiB at once, as Linux does.
    nbytes = (5 << 30) + 7
    pages = mmap.mmap(-1, nbytes, mmap.MAP_PRIVATE, mmap.PROT_READ)
    written = []

    def write(descriptor, data):
        if descriptor != ends.spool:
            return real_write(descriptor, data)
        written.append(min(len(data), 0x7FFFF000))
        return written[-1]

    real_write = os.write
    monkeypatch.setattr(os, "write", write)
    ends.worker.send(np.frombuffer(pages, "u1"))
    assert nbytes < sum(written) < nbytes + 1000
    (frame,) = ends.frames()
    assert frame[1] == b""


def test_short_writes_are_completed(ends, monkeypatch):
    report = np.arange(LARGE, dtype="u2")

    def write(descriptor, data):
        return real_write(descriptor, data[:1000])

    real_write = os.write
    monkeypatch.setattr(os, "write", write)
    ends.worker.send(report)
    np.testing.assert_array_equal(ends.received()[0], report)
