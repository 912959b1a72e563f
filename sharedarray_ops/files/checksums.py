"""The CRC-32 of zip files in parallel.

A CRC is the remainder of a polynomial over GF(2) whose coefficients are the bits. So the CRC of two
parts in a row is that of the first, times x**(8 n) for the n bytes of the second, plus that of the
second.
"""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, blocks
from sharedarray_ops.pool import Pool

__all__ = ["crc32", "joined"]

# Bytes.
CHUNK = 8 << 20

# As zlib has them, the highest bit is the coefficient of x**0.
_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31
_X = 1 << 30


def crc32(data: NDArray[np.uint8], pool: Pool) -> int:
    """Return ``zlib.crc32(data)``.

    Parameters
    ----------
    data : ndarray of uint8, shape (n,)
        Contiguous, in memory that the workers of `pool` share.
    pool : Pool
        Who works. The results of its map are numbers of 32 bits.
    """

    def kernel(part: Chunk) -> int:
        return zlib.crc32(data[part.slice].data)

    parts = list(blocks(0, data.size, CHUNK))
    result = 0
    for part, crc in zip(parts, pool.map(kernel, parts), strict=True):
        result = joined(result, crc, part.size)
    return result


def joined(first: int, second: int, n_bytes: int) -> int:
    """Return the CRC of two parts in a row from those of each, `n_bytes` being in the second."""
    return _times(_shift(n_bytes), first) ^ second


@lru_cache(maxsize=4)
def _shift(n_bytes: int) -> int:
    """Return x**(8 n_bytes)."""
    result, power, exponent = _ONE, _X, 8 * n_bytes
    while exponent:
        if exponent & 1:
            result = _times(power, result)
        power = _times(power, power)
        exponent >>= 1
    return result


def _times(a: int, b: int) -> int:
    """Return the product of two polynomials, modulo that of the CRC."""
    product = 0
    for degree in range(32):
        if a & _ONE >> degree:
            product ^= b
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)  # times x
    return product
