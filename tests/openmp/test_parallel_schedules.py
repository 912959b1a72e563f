"""The arithmetic of loops: each item in one chunk, the chunks as OpenMP has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray.openmp.loops import (
    LoopSchedule,
    chunks_of,
    loop_over,
    parse_schedule,
    static_chunks,
)

N_ITEMS = st.one_of(st.integers(0, 40), st.sampled_from([97, 1000, 1009]))
CHUNKS = st.one_of(st.integers(0, 12), st.just(5000))
N_RANKS = st.integers(1, 9)


def claimed(schedule, n_items, n_ranks):
    chunk_of, chunks = chunks_of(schedule, n_items, n_ranks), []
    while (chunk := chunk_of(len(chunks))) is not None:
        chunks.append(chunk)
    return chunks


def joined(chunks, n_items):
    """Whether chunks, in order, are range(n_items) cut into pieces."""
    edges = [0, *(stop for _, stop in chunks)]
    return [start for start, _ in chunks] == edges[:-1] and edges[-1] == n_items


@given(N_ITEMS, CHUNKS, N_RANKS)
def test_static_chunks_are_all_items_in_turn(n_items, chunk, n_ranks):
    schedule = LoopSchedule("static", chunk)
    parts = [list(static_chunks(schedule, n_items, n_ranks, rank)) for rank in range(n_ranks)]

    chunks = sorted(chunk for part in parts for chunk in part)
    assert joined(chunks, n_items)
    assert all(start < stop for start, stop in chunks)
    sizes = [stop - start for start, stop in chunks]
    if chunk:
        assert all(size == chunk for size in sizes[:-1])
        assert all(chunks[k] in parts[k % n_ranks] for k in range(len(chunks)))
    else:
        assert max(sizes, default=0) - min(sizes, default=0) <= 1
        assert all(len(part) <= 1 for part in parts)


@given(N_ITEMS, CHUNKS, N_RANKS)
def test_dynamic_chunks_are_all_items(n_items, chunk, n_ranks):
    chunks = claimed(LoopSchedule("dynamic", chunk), n_items, n_ranks)

    assert joined(chunks, n_items)
    assert all(stop - start == (chunk or 1) for start, stop in chunks[:-1])


@given(N_ITEMS, CHUNKS, N_RANKS)
def test_guided_chunks_shrink_to_the_least_size(n_items, chunk, n_ranks):
    chunks = claimed(LoopSchedule("guided", chunk), n_items, n_ranks)

    assert joined(chunks, n_items)
    sizes = [stop - start for start, stop in chunks]
    assert sizes == sorted(sizes, reverse=True)
    assert all(size >= (chunk or 1) for size in sizes[:-1])
    if sizes:
        assert sizes[0] == min(n_items, max(chunk or 1, -(-n_items // (2 * n_ranks))))


@given(st.sampled_from(["dynamic", "guided"]), N_ITEMS, CHUNKS, N_RANKS, st.data())
def test_claimed_numbers_give_their_own_chunks(name, n_items, chunk, n_ranks, data):
    schedule = LoopSchedule(name, chunk)
    chunks = claimed(schedule, n_items, n_ranks)
    numbers = sorted(data.draw(st.sets(st.integers(0, len(chunks) + 3))))
    chunk_of = chunks_of(schedule, n_items, n_ranks)

    found = [chunk_of(number) for number in numbers]
    assert found == [chunks[k] if k < len(chunks) else None for k in numbers]


@pytest.mark.parametrize("name", ["dynamic", "guided", "static"])
def test_a_huge_loop_is_planned_at_once(name):
    n_items = 10**18 + 1
    if name == "static":
        chunks = [c for r in range(3) for c in static_chunks(LoopSchedule(name), n_items, 3, r)]
        assert joined(chunks, n_items)
    elif name == "guided":
        assert joined(claimed(LoopSchedule(name), n_items, 64), n_items)
    else:
        assert chunks_of(LoopSchedule(name), n_items, 3)(n_items - 1) == (n_items - 1, n_items)


@pytest.mark.parametrize(
    ("schedule", "meant"),
    [
        ("static", ("static", 0)),
        (("dynamic", 3), ("dynamic", 3)),
        (["guided", 2], ("guided", 2)),
        (("guided",), ("guided", 0)),
    ],
)
def test_what_a_user_may_give(schedule, meant):
    assert parse_schedule(schedule) == meant


@pytest.mark.parametrize(
    ("schedule", "error"),
    [
        ("auto", ValueError),
        (("static", 0), ValueError),
        (("static", -1), ValueError),
        (("static", 1, 2), ValueError),
        (("static", 1.5), TypeError),
        (("static", "1"), TypeError),
        (3, TypeError),
        (None, TypeError),
        ((), TypeError),
    ],
)
def test_what_is_no_schedule(schedule, error):
    with pytest.raises(error, match=r"schedule|integer"):
        parse_schedule(schedule)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=3), st.data())
def test_several_ranges_are_gone_through_as_nested_loops(lengths, data):
    n_items, items_at = loop_over(lengths)
    every = [()]
    for length in lengths:
        every = [(*item, i) for item in every for i in range(length)]
    if len(lengths) == 1:
        every = [i for (i,) in every]

    start = data.draw(st.integers(0, n_items))
    stop = data.draw(st.integers(start, n_items))
    assert n_items == len(every)
    assert list(items_at(start, stop)) == every[start:stop]
