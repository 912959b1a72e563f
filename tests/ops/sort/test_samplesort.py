"""Exact cuts of sorted blocks: against a stable sort of all elements, and the bounds of rounds."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray_ops.sort.columns import Direction
from sharedarray_ops.sort.samplesort import (
    BALANCE,
    exact_cuts,
    exact_rounds,
    narrowed,
    output_sizes,
    parts_of,
    positions,
    targets_of,
    whole_blocks,
)

ASCENDING = Direction()


def sorted_blocks(sizes, n_values, seed):
    rng = np.random.default_rng(seed)
    return [np.sort(rng.integers(0, n_values, size)) for size in sizes]


def expected(blocks, targets):
    """Return the cuts by a look at all elements."""
    of_block = np.repeat(np.arange(len(blocks)), [block.size for block in blocks])
    in_order = of_block[np.argsort(np.concatenate(blocks), kind="stable")]
    return [np.bincount(in_order[:n], minlength=len(blocks)).tolist() for n in targets]


def rounds(blocks, targets, n_samples):
    """Yield the brackets after each of the rounds that are said to be enough, and its step."""
    n, n_blocks = sum(block.size for block in blocks), len(blocks)
    brackets = whole_blocks([block.size for block in blocks])
    for _ in range(exact_rounds(n, len(targets), n_blocks, n_samples)):
        samples = [block[positions(brackets, k, n_samples)] for k, block in enumerate(blocks)]
        brackets = narrowed(brackets, samples, targets, ASCENDING, n_samples)
        yield brackets


@given(
    sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=9).filter(any),
    n_values=st.sampled_from([1, 2, 100, 10**6]),
    n_cuts=st.integers(1, 6),
    n_samples=st.sampled_from([1, 300, 1 << 18]),
    seed=st.integers(0, 99),
)
def test_cuts_are_those_of_a_stable_sort(sizes, n_values, n_cuts, n_samples, seed):
    blocks = sorted_blocks(sizes, n_values, seed)
    targets = sorted(np.random.default_rng(seed).integers(0, sum(sizes) + 1, n_cuts).tolist())

    *_, last = rounds(blocks, targets, n_samples)

    assert last.low.tolist() == last.high.tolist() == expected(blocks, targets)
    assert exact_cuts(blocks, targets, ASCENDING, n_samples).tolist() == last.low.tolist()


# Blocks that interleave, that follow each other in either direction, and one that has it all.
@pytest.mark.parametrize(
    "blocks",
    [
        [np.arange(k, 1_000_000, 5) for k in range(5)],
        [np.arange(k, k + 200_000) for k in range(0, 1_000_000, 200_000)],
        [np.arange(k, k + 200_000) for k in range(800_000, -1, -200_000)],
        [np.arange(999_996), *(np.array([k]) for k in range(4))],
        [np.zeros(200_000, np.int64)] * 5,
    ],
)
def test_a_round_leaves_no_more_than_it_promises(blocks):
    n_blocks, targets = len(blocks), [0, 1, 499_999, 500_000, 1_000_000]
    width = sum(block.size for block in blocks)
    found = list(rounds(blocks, targets, 1))
    for brackets in found:
        n_looked_at = 64 * (2 * n_blocks + 1)
        width = (2 * n_blocks + 1) * (-(-width // n_looked_at) - 1)
        assert brackets.widths.max() <= width
        assert (brackets.low <= np.array(expected(blocks, targets))).all()
        assert (brackets.high >= np.array(expected(blocks, targets))).all()
    assert found[-1].widths.max() == 0
    assert found[0].widths.max() > 0  # a round less would not do


@pytest.mark.parametrize("n_blocks", [1, 5, 500])
def test_rounds_are_counted_by_what_they_promise(n_blocks):
    for n in [1, 129, *(7**k for k in range(3, 15))]:
        n_rounds, width = 0, n
        while width:
            width = (2 * n_blocks + 1) * (-(-width // (64 * (2 * n_blocks + 1))) - 1)
            n_rounds += 1
        assert exact_rounds(n, 10, n_blocks, 1) == n_rounds


def test_looks_at_no_more_than_the_samples_asked_for():
    brackets = whole_blocks([10**9] * 16)

    n_looked_at = sum(positions(brackets, k).size for k in range(16))

    assert (1 << 18) * 0.99 < n_looked_at <= 1 << 18


@given(sizes=st.lists(st.integers(0, 10**6), min_size=1, max_size=30))
def test_outputs_are_balanced(sizes):
    outputs = output_sizes(sizes)

    assert len(outputs) == len(sizes)
    assert sum(outputs) == sum(sizes)
    assert max(outputs) <= max(BALANCE * sum(sizes) / len(sizes), -(-sum(sizes) // len(sizes)))


def test_balanced_blocks_keep_their_sizes():
    assert output_sizes([1000] * 9 + [500]) == [1000] * 9 + [500]
    assert output_sizes([1000, 500]) == [750, 750]
    assert output_sizes([0, 0, 1]) == [1, 0, 0]


def test_parts_cover_a_block_once():
    cuts = np.array([[3, 0], [3, 5], [8, 5]])

    assert [tuple(part) for part in parts_of(cuts, 0, 10)] == [(0, 3), (3, 3), (3, 8), (8, 10)]
    assert targets_of([3, 0, 5, 2]) == list(accumulate([3, 0, 5]))
