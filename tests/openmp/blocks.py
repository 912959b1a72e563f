"""Helpers for tests of Parallel: run a block on every backend, or return how it fails."""

from __future__ import annotations

import pytest

from sharedarray.errors import ParallelException
from sharedarray.openmp.parallel import Parallel
from tests.workers.clock import within
from tests.workers.support import BACKENDS

KINDS = [*((backend, n) for backend in BACKENDS for n in (2, 3)), ("serial", 1), ("process", 0)]
several = pytest.mark.parametrize(("backend", "n"), [kind for kind in KINDS if kind[1] > 1])
each_kind = pytest.mark.parametrize(("backend", "n"), KINDS)

SOON = 2  # seconds, in which a block has to end


def run(kind, body, *variables):
    """Run a body on a backend and a number of ranks, and return the Parallel."""
    p = Parallel(*variables, num_threads=kind[1], backend=kind[0])
    p.run(body)
    return p


def failure_of(body, n=2, backend="process", match=None):
    """Run a body that fails, and return the ParallelException of the block."""
    with within(SOON), pytest.raises(ParallelException, match=match) as caught:
        run((backend, n), body)
    return caught.value
