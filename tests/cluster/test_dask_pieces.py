"""Pieces on their way: files within a machine, bytes elsewhere, and what is left of them."""

from __future__ import annotations

import gc
import pickle
import sys
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from sharedarray.cluster import dask_pieces as module
from sharedarray.cluster import piece_files
from sharedarray.cluster.dask_pieces import Bundle, cut, held, sampled
from sharedarray_ops.plan import Chunk
from sharedarray_ops.pool import Caller
from sharedarray_ops.sort.merging import Indexed, Ordered

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there are no files in memory")

CALLER = Caller()
HERE = {"recipient": {module.MACHINE: module._machine()}}
ELSEWHERE = {"recipient": {module.MACHINE: "another one"}}
N = 10_007
CUTS = [0, 0, 3, N // 4, N // 4 + 1, N // 2, N - 1, N]


@pytest.fixture
def in_worker(monkeypatch):
    """Be in a Dask worker, and have files for little."""
    monkeypatch.setattr(module, "dask_worker", lambda: object())
    monkeypatch.setattr(module, "MIN_NBYTES", 1)


def block(dtype="f8", positions="u4"):
    values = np.arange(N).astype(dtype)
    return Ordered(values, None if positions is None else np.arange(N)[::-1].astype(positions))


def in_files(bundle):
    return {isinstance(span.source, piece_files.File) for spans in bundle.spans for span in spans}


def check(pieces, whole):
    for (start, stop), number in zip(pairwise(CUTS), range(len(CUTS) - 1), strict=True):
        parts = pieces.piece(number)
        for found, expected in zip(zip(*parts, strict=True), whole, strict=True):
            if expected is None:
                assert set(found) == {None}
            else:
                assert b"".join(a.tobytes() for a in found) == expected[start:stop].tobytes()
                assert {a.dtype for a in found} == {expected.dtype}


def cut_up(whole):
    return cut(held(whole, None, CALLER), [Chunk(*pair) for pair in pairwise(CUTS)])


def travelled(bundle, context):
    header, frames = module._serialize(bundle, context=context)
    frames = [bytes(frame) for frame in frames]
    header = pickle.loads(pickle.dumps(header))
    return module._deserialize(header, frames), frames


@pytest.mark.parametrize("dtype", ["f8", ">i2", "S3", "M8[s]", "?", [("a", "i1"), ("b", "f4")]])
@pytest.mark.parametrize("positions", ["u4", "i8", None])
def test_pieces_are_those_of_the_block_wherever_they_are(in_worker, dtype, positions):
    whole = block(dtype, positions)
    pieces = cut_up(whole)

    there, _ = travelled(pieces, ELSEWHERE)
    here, frames = travelled(pieces, HERE)
    spilled, _ = travelled(pieces, None)

    assert in_files(pieces) == in_files(here) == {True}
    assert in_files(there) == in_files(spilled) == {False}
    assert not frames
    for bundle in (pieces, here, there, spilled, pickle.loads(pickle.dumps(pieces))):
        check(bundle, whole)


def test_outside_of_workers_pieces_are_copies():
    whole = block()
    pieces = cut_up(whole)

    assert in_files(pieces) == {False}
    assert not any(
        np.shares_memory(part.values, whole.values)
        for number in range(len(CUTS) - 1)
        for part in pieces.piece(number)
    )
    check(pieces, whole)


def test_a_block_that_has_moved_as_bytes_is_cut_all_the_same(in_worker):
    whole = block()
    moved, _ = travelled(held(whole, None, CALLER), ELSEWHERE)

    pieces = cut(moved, [Chunk(*pair) for pair in pairwise(CUTS)])

    check(pieces, whole)
    assert sampled(moved, np.array([N - 1, 0])).tolist() == [N - 1, 0]


def test_samples_are_values_of_the_block(in_worker):
    whole = block()
    positions = np.array([0, N // 2, N // 4 - 1, N // 4, N - 1, 5, 5])

    first = held(whole, positions, CALLER)

    assert first.samples.tolist() == sampled(first, positions).tolist() == positions.tolist()
    for context in (HERE, ELSEWHERE):
        assert travelled(first, context)[0].samples.tolist() == positions.tolist()
    assert sampled(held(whole, None, CALLER), positions[:0]).size == 0


@pytest.mark.parametrize("is_worker", [True, False])
def test_an_indexed_block_is_gathered_where_it_is_held(request, is_worker):
    if is_worker:
        request.getfixturevalue("in_worker")
    rng = np.random.default_rng(1)
    positions = rng.permutation(300_000).astype("u4")
    values = rng.random(positions.size)
    tracemalloc.start()
    try:
        bundle = held(Indexed(values, positions), np.array([0, 7, 299_999]), CALLER)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    parts = bundle.piece(0)
    assert np.array_equal(np.concatenate([p.values for p in parts]), values[positions])
    assert np.array_equal(np.concatenate([p.positions for p in parts]), positions)
    assert np.array_equal(bundle.samples, values[positions][[0, 7, 299_999]])
    # Files are no memory of Python's: beside them a task takes next to nothing.
    assert (peak < values.nbytes / 2) is is_worker


def attached_anew(bundle):
    """Return the bundle as it arrives in another process, which has none of the files."""
    header, frames = module._serialize(bundle, context=HERE)
    piece_files.files.clear()
    return module._deserialize(header, frames)


def test_what_has_arrived_outlives_its_sender(in_worker):
    whole = block()
    pieces = cut_up(whole)
    arrived = attached_anew(pieces)
    sent = {span.source.descriptor for spans in pieces.spans for span in spans}
    got = {span.source.descriptor for spans in arrived.spans for span in spans}

    assert not sent & got
    del pieces
    gc.collect()
    check(arrived, whole)


def test_a_file_is_gone_with_the_last_piece_of_it(in_worker):
    before = len(piece_files.files)
    pieces = cut_up(block())
    first = Bundle(pieces.spans[1:3])  # elements of the first quarter
    assert len(piece_files.files) == before + module.N_FILES

    del pieces
    gc.collect()

    assert len(piece_files.files) == before + 1
    assert first.piece(0)[0].values.tolist() == [0, 1, 2]


def test_files_cannot_be_changed(in_worker):
    pieces = cut_up(block())
    (part,) = pieces.piece(3)
    with pytest.raises(ValueError, match="read-only"):
        part.values[0] = 1
    with pytest.raises(PermissionError):
        piece_files.os.pwrite(pieces.spans[3][0].source.descriptor, b"x", 0)


@pytest.mark.parametrize("what", ["another file", "no process"])
def test_what_cannot_be_reached_is_a_lost_connection_and_bytes_from_then_on(
    in_worker, monkeypatch, what
):
    withdrawn = []
    monkeypatch.setattr(module, "_withdraw", lambda: withdrawn.append(True))
    pieces = cut_up(block())
    header, _ = module._serialize(pieces, context=HERE)
    spans, samples = pickle.loads(header["files"])
    _, layout, pid, number = spans[0][0][0]
    wrong = ("x", layout, pid, number) if what == "another file" else ("x", layout, 2**22, 3)
    spans[0][0] = (wrong, spans[0][0][1])

    with pytest.raises(ConnectionError, match="cannot be reached"):
        module._deserialize({"files": pickle.dumps((spans, samples))}, [])
    assert withdrawn


@pytest.mark.parametrize("limit", ["descriptors", "memory files"])
def test_without_files_pieces_are_private(in_worker, monkeypatch, limit):
    if limit == "descriptors":
        monkeypatch.setattr(piece_files, "DESCRIPTORS", 0)
    else:

        def refuse(*args):
            raise PermissionError

        monkeypatch.setattr(piece_files.os, "memfd_create", refuse)
    whole = block()
    pieces = cut_up(whole)

    assert in_files(pieces) == {False}
    check(pieces, whole)
