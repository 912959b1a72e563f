"""Both ends of a socket where something is wrong: claims, peers, frames, what does not pickle."""

from __future__ import annotations

import os
import pickle
import select
import socket
import threading

import numpy as np
import pytest

from sharedarray.workers import transport
from sharedarray.workers.reports import Claim
from sharedarray.workers.transport import INLINE_MAX_NBYTES, PeerGone, ProtocolError
from tests.workers.support import in_threads
from tests.workers.transport_ends import HEADER_NBYTES, LARGE, Ends

pytestmark = pytest.mark.skipif(not hasattr(socket, "send_fds"), reason="no descriptors in sockets")

MAGIC = b"shdarray"


@pytest.fixture
def ends():
    ends = Ends()
    yield ends
    ends.close()


# claims


def test_large_claims_reach_a_worker_that_reads_slowly(ends):
    claims = [Claim(i, i + 1, [bytes([i]) * (4 << 20)]) for i in range(3)]
    for claim in claims:
        ends.coordinator.send(claim)
    assert ends.coordinator.has_unsent

    def coordinate():
        poll = select.poll()
        poll.register(ends.ours, select.POLLOUT)
        while ends.coordinator.has_unsent:
            poll.poll(20_000)
            ends.coordinator.flush()

    _, received = in_threads(coordinate, lambda: [ends.worker.next_claim() for _ in claims])
    assert received == claims


def test_none_ends_the_claims(ends):
    ends.coordinator.send(None)
    assert ends.worker.next_claim() is None


def test_item_that_does_not_pickle_is_named_and_nothing_is_sent(ends):
    with pytest.raises((pickle.PicklingError, AttributeError)) as caught:
        ends.coordinator.send(Claim(17, 18, [lambda: None]))
    assert "item 17" in caught.value.__notes__[0]
    assert not ends.coordinator.has_unsent
    ends.coordinator.send("next")
    assert ends.worker.next_claim() == "next"


# what is no frame


def header(kind, nbytes, magic=MAGIC, n_descriptors=0):
    return magic + bytes([kind, n_descriptors]) + nbytes.to_bytes(8, "little")


NO_FRAMES = {
    "garbage": b"x" * HEADER_NBYTES,
    "more garbage": b"x" * 1000,
    "zeros": bytes(HEADER_NBYTES),
    "a magic number that is one byte off": header(0, 1, b"shdarraz"),
    "a kind that is none": header(200, 0),
    "a kind that goes down": header(3, 0),
    "a length above the limit": header(0, INLINE_MAX_NBYTES + 1),
    "a length beyond all memory": header(0, 1 << 60),
    "the largest length": header(0, (1 << 64) - 1),
    "a descriptor that has not come": header(0, 0, n_descriptors=1),
}


@pytest.mark.parametrize("data", NO_FRAMES.values(), ids=NO_FRAMES)
def test_coordinator_refuses_what_is_no_frame(ends, data):
    ends.theirs.send(data)
    with pytest.raises(ProtocolError):
        ends.coordinator.read()


def test_coordinator_refuses_garbage_after_a_frame(ends):
    ends.theirs.send(ends.raw("fine") + b"x" * HEADER_NBYTES)
    with pytest.raises(ProtocolError):
        ends.coordinator.read()


def test_worker_refuses_what_is_no_frame(ends):
    ends.ours.send(b"x" * HEADER_NBYTES)
    with pytest.raises(ProtocolError):
        ends.worker.next_claim()


def test_longest_frame_is_one(ends):
    ends.theirs.send(header(0, INLINE_MAX_NBYTES) + bytes(INLINE_MAX_NBYTES))
    (frame,) = ends.frames()
    assert len(frame[1]) == INLINE_MAX_NBYTES


# peers that are gone


def test_worker_learns_that_the_coordinator_is_gone(ends):
    ends.ours.close()
    for use in (
        lambda: ends.worker.send("small"),
        lambda: ends.worker.send(bytes(LARGE)),
        ends.worker.end,
        ends.worker.next_claim,
    ):
        with pytest.raises(PeerGone):
            use()


def test_worker_that_waits_for_the_spool_learns_it_too(ends):
    ends.worker.send(bytes(LARGE))
    ends.ours.close()
    with pytest.raises(PeerGone):
        ends.worker.send(bytes(LARGE))


def test_worker_that_waits_in_the_middle_of_a_claim_learns_it_too(ends):
    ends.ours.send(header(3, 100) + b"x" * 50)
    ends.ours.close()
    with pytest.raises(PeerGone):
        ends.worker.next_claim()


def test_worker_that_is_still_sending_learns_it_too(ends):
    ends.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 12)
    outcome = []

    def send():
        try:
            while True:
                ends.worker.send(bytes(1 << 15))
        except PeerGone:
            outcome.append("gone")

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    ends.coordinator.read()
    ends.ours.close()
    sender.join(20)
    assert outcome == ["gone"]


@pytest.mark.parametrize("has_unread_claim", [False, True])
def test_what_a_worker_has_sent_before_its_end_is_read(ends, has_unread_claim):
    reports = [bytes([i]) * 1000 for i in range(50)] + [bytes(LARGE)]
    for report in reports:
        ends.worker.send(report)
    if has_unread_claim:  # the kernel then tells of a connection that is reset
        ends.coordinator.send("never read")
    ends.theirs.close()
    assert ends.received() == reports
    assert ends.coordinator.is_at_end
    assert not ends.coordinator.has_ended


def test_half_a_frame_of_a_dead_worker_is_nothing(ends):
    ends.theirs.send(ends.raw("never complete")[:-1])
    ends.theirs.close()
    assert ends.frames() == []
    assert ends.coordinator.is_at_end


def test_nothing_is_sent_to_a_dead_worker(ends):
    ends.theirs.close()
    ends.coordinator.send(bytes(1 << 20))
    assert not ends.coordinator.has_unsent


def test_claims_that_wait_for_a_worker_are_dropped_with_it(ends):
    ends.coordinator.send(bytes(8 << 20))
    assert ends.coordinator.has_unsent
    ends.theirs.close()
    ends.coordinator.flush()
    assert not ends.coordinator.has_unsent


def test_spool_of_a_dead_worker_is_read(ends):
    ends.worker.send(bytes(LARGE))
    os.close(ends.spool)
    ends.worker._spool = None
    ends.theirs.close()
    assert ends.received() == [bytes(LARGE)]


# what does not pickle


def fail(*_):
    raise ValueError("does not unpickle")


class Broken:
    """What pickles, and does not unpickle."""

    def __init__(self, size=0):
        self.size = size

    def __reduce__(self):
        return fail, (bytes(self.size),)


class Unpicklable:
    """What fails when a part of it is already pickled."""

    def __reduce__(self):
        raise ValueError("does not pickle")


@pytest.mark.parametrize("size", [0, LARGE])
@pytest.mark.parametrize("cls", [Broken, Unpicklable])
def test_report_that_does_not_travel_fails_in_the_worker(ends, cls, size):
    value = Broken(size) if cls is Broken else [bytes(size), Unpicklable()]
    with pytest.raises(ValueError, match="does not"):
        ends.worker.send([value], [value])
    assert ends.frames() == []
    for report in ("next", bytes(LARGE), bytes(LARGE)):
        ends.worker.send(report, [report])
        assert ends.received() == [report]


@pytest.mark.parametrize(
    "value",
    [None, 1, True, 1.5, 1j, "x", b"x", (1, ("x",)), np.float64(3), np.arange(3), np.ones(LARGE)],
    ids=lambda value: type(value).__name__,
)
def test_what_travels_for_certain_is_not_tried(ends, monkeypatch, value):
    with monkeypatch.context() as patch:
        patch.setattr(pickle, "loads", fail)
        patch.setattr(transport, "_load_spool", fail)
        ends.worker.send([value], [value])
    assert len(ends.frames()) == 1


@pytest.mark.parametrize("value", [[1], {1: 2}, (1, [2]), np.array([None]), Broken(), ValueError()])
def test_what_may_not_travel_is_tried(ends, monkeypatch, value):
    with monkeypatch.context() as patch:
        patch.setattr(pickle, "loads", fail)
        with pytest.raises(ValueError, match="does not unpickle"):
            ends.worker.send([value], [value])
    assert ends.frames() == []


def test_failure_to_unpickle_frees_the_spool(ends):
    ends.worker.send(Broken(LARGE))  # without values: nothing is tried
    (frame,) = ends.frames()
    with pytest.raises(ValueError, match="does not unpickle"):
        ends.coordinator.load(frame)
    ends.worker.send(bytes(LARGE))  # would wait for ever
    assert ends.received() == [bytes(LARGE)]
