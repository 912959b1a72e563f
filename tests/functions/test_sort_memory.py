"""Extra memory beside the result, at real sizes: at most a tenth of it, whatever the values are.

The pool runs one item at a time, so that the peak is that of one worker, and the same in every run;
`n_workers` of them may work at a time. Tracemalloc sees private and shared memory; inputs and
outputs are made before.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

import sharedarray
from tests.ops.support import UnorderedPool

N = 4_000_000
MIB = 1 << 20
PER_WORKER = 4 * MIB  # for lines, as documented


def peak(call: Callable[[], object]) -> int:
    """Return how many bytes a call takes at the most, beside what was there before.

    The lower peak of two calls: once in many the interpreter makes its table of names anew, which
    takes 2 MB.
    """
    peaks = []
    for _ in range(2):
        tracemalloc.start()
        try:
            call()
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    return min(peaks)


INTEGERS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "random": lambda rng: rng.integers(-(1 << 62), 1 << 62, N),
    "sorted": lambda rng: np.arange(N),
    "reversed": lambda rng: np.arange(N)[::-1].copy(),
    "equal": lambda rng: np.full(N, 7),
    "few": lambda rng: rng.integers(0, 10, N),
    "200 values": lambda rng: rng.integers(0, 200, N),
    "organ pipe": lambda rng: np.minimum(np.arange(N), N - np.arange(N)),
    "blocks": lambda rng: np.arange(N) // 7 * 1_000_003 % 1009,
    "zipf": lambda rng: np.minimum(rng.zipf(1.3, N), 1 << 61),
    "outlier": lambda rng: np.append(rng.integers(0, 1 << 20, N - 1), 1 << 62),
    "clusters": lambda rng: rng.integers(0, 1 << 20, N) + (rng.integers(-2, 3, N) << 50),
    "ties": lambda rng: rng.integers(0, N // 3, N) << 40,
}


def _nan_heavy(rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.random(N) < 0.9, np.nan, rng.standard_normal(N))


FLOATS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "normal": lambda rng: rng.standard_normal(N),
    "NaN": _nan_heavy,
    "zeros": lambda rng: np.where(rng.random(N) < 0.5, 0.0, -0.0),
    "denormal": lambda rng: rng.integers(1, 1 << 51, N).view(np.float64),
    "zipf": lambda rng: INTEGERS["zipf"](rng).astype(np.float64),
    "clusters": lambda rng: INTEGERS["clusters"](rng).astype(np.float64),
}


def _complex(integers: np.ndarray) -> np.ndarray:
    a = np.empty(N, np.complex128)
    a.real, a.imag = integers >> 3, integers & 7
    return a


def _strings(integers: np.ndarray) -> np.ndarray:
    words = np.empty((N, 2), ">u8")
    words[:, 0], words[:, 1] = integers.view(np.uint64) >> np.uint64(9), integers.view(np.uint64)
    return words.view("S16")[:, 0]


CASES: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    **{f"i8 {name}": make for name, make in INTEGERS.items()},
    **{f"f8 {name}": make for name, make in FLOATS.items()},
    **{
        f"c16 {name}": lambda rng, make=INTEGERS[name]: _complex(make(rng))
        for name in ("random", "few", "clusters")
    },
    **{
        f"S16 {name}": lambda rng, make=INTEGERS[name]: _strings(make(rng))
        for name in ("random", "few", "clusters")
    },
    "g normal": lambda rng: rng.standard_normal(N).astype(np.longdouble),
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return CASES[request.param](np.random.default_rng(0))


def argsort_peak(a: np.ndarray, n_workers: int) -> int:
    out = sharedarray.zeros(a.size, np.intp)
    return peak(lambda: sharedarray.argsort(a, out=out, pool=UnorderedPool(n_workers)))


def sort_peak(values: np.ndarray, n_workers: int, **kwargs: object) -> int:
    a = sharedarray.array(values)

    def sort() -> None:
        a[...] = values
        a.sort(pool=UnorderedPool(n_workers), **kwargs)

    return peak(sort)


@pytest.mark.parametrize("n_workers", [1, 2])
def test_argsort_takes_a_tenth_of_its_output(case, n_workers):
    assert n_workers * argsort_peak(case, n_workers) <= 0.1 * 8 * N


def test_argsort_takes_what_is_documented(case):
    assert argsort_peak(case, 2) <= 12 * MIB


@pytest.mark.parametrize("n_workers", [1, 2])
def test_sort_in_place_takes_a_tenth_of_its_input(case, n_workers):
    if case.dtype.kind not in "if" or case.itemsize > 8:
        pytest.skip("wider elements than numbers take more when they are sorted")
    assert n_workers * sort_peak(case, n_workers) <= 0.1 * case.nbytes


@pytest.mark.parametrize("dtype", ["f4", "i2", "u1", "f2", ">f8", "M8[s]"])
def test_sort_in_place_takes_what_is_documented(dtype):
    integers = np.random.default_rng(0).integers(0, 100, N)
    values = integers.view(dtype) if dtype == "M8[s]" else integers.astype(dtype)
    for descending in (False, True):
        limit = 9 if dtype == "f2" else 5
        assert sort_peak(values, 2, descending=descending) <= limit * MIB


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shape", [(N // 500, 500), (500, N // 500)])
def test_argsort_of_lines(shape, axis):
    a = np.random.default_rng(0).standard_normal(shape)
    out = sharedarray.zeros(shape, np.intp)
    found = peak(lambda: sharedarray.argsort(a, axis, out=out, pool=UnorderedPool(2)))
    assert found <= PER_WORKER


def test_lexsort():
    rng = np.random.default_rng(0)
    keys = [rng.standard_normal(N), rng.integers(0, 100, N)]
    found = peak(lambda: sharedarray.lexsort(keys, pool=UnorderedPool(2)))
    assert found - 8 * N <= PER_WORKER


def test_a_copy_of_the_output_would_be_seen():
    """The twin: what a stable argsort of NumPy takes."""
    a = np.random.default_rng(0).standard_normal(N)
    assert peak(lambda: np.argsort(a, kind="stable")) > 0.1 * 8 * N
