import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray_ops import taking
from tests.ops.support import UnorderedPool, assert_same_bits, canaries, unchanged


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(taking, "BLOCK", 16)


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 9), st.integers(1, 5)),
    n_indices=st.integers(0, 100),
    dtype=st.sampled_from(["f8", ">i2", "S3", "i4,f8"]),
    mode=st.sampled_from(["clip", "wrap"]),
    n_workers=st.integers(1, 7),
)
def test_take(shape, n_indices, dtype, mode, n_workers):
    values = np.arange(np.prod(shape)).reshape(shape)
    a = np.zeros(shape, dtype)
    a[...] = values.astype(a.dtype if a.dtype.names is None else "i4")
    indices = np.random.default_rng(0).integers(-20, 20, n_indices).astype("i2")
    with unchanged(a, indices), canaries(shape[0] * n_indices * shape[2], a.dtype) as room:
        out = room.reshape(shape[0], n_indices, shape[2])
        taking.take(a, indices, out, mode, UnorderedPool(n_workers, seed=1))
        assert_same_bits(out, np.take(a, indices, 1, mode=mode))
        bounded = indices % (2 * shape[1]) - shape[1]
        assert taking.take(a, bounded, out, "raise", UnorderedPool(n_workers))
        assert_same_bits(out, np.take(a, bounded, 1))
        for bad in (shape[1], -shape[1] - 1):
            if n_indices:
                bounded[-1] = bad
                assert not taking.take(a, bounded, out, "raise", UnorderedPool(n_workers))
