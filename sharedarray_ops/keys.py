"""Order-preserving keys: every fixed-width number becomes an unsigned rank.

The rank of a value is the distance of its order-preserving 64-bit word from the smallest word in
the array. Comparing ranks is comparing values in NumPy's sort order: -0.0 equals +0.0, all NaN are
equal and last, NaT is last.

==================  ==========================================================================
dtype               word
==================  ==========================================================================
bool, (u)int        the value; the distance from the smallest wraps, so signs need no care
datetime, timedelta the integer; NaT, the smallest integer, wraps to the top by itself
float64, float32    the bits of ``x + 0.0``; all flipped for negative numbers, the sign bit else
float16             as float32, which holds every float16
==================  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Extent", "Ranking", "extent", "is_rankable", "ranking"]

_NAT = np.iinfo(np.int64).min


class Extent(NamedTuple):
    """Smallest and largest word of a part of an array, and whether it holds NaN.

    `low` and `high` are None where there is nothing but NaN or NaT.
    """

    low: int | None
    high: int | None
    has_nan: bool


class Ranking(NamedTuple):
    """How the values of one array become ranks.

    Attributes
    ----------
    origin : int
        The smallest word; its rank is 0.
    n_bits : int
        Every rank is below ``2 ** n_bits``.
    nan_rank : int
        The rank of NaN, above all others.
    has_nan, has_negative : bool
        Which steps the encoding needs.
    """

    origin: int
    n_bits: int
    nan_rank: int
    has_nan: bool
    has_negative: bool

    def encode(self, values: NDArray[Any], out: NDArray[np.uint64]) -> None:
        """Write the rank of every element of `values` to `out`, native uint64 of the same shape.

        Extra memory: 8 bytes an element where there are negative floats, 1 byte where there is NaN.
        """
        if values.dtype.kind == "f":
            self._encode_floats(values, out)
        elif values.dtype.isnative and values.dtype.itemsize == 8:
            np.subtract(values.view(np.uint64), np.uint64(self.origin % 2**64), out=out)
        else:
            # Signed values sign-extend, so that the wrapped distance is right for any width.
            integers = _integers(values)
            np.copyto(out.view(np.int64) if integers.dtype.kind == "i" else out, integers)
            out -= np.uint64(self.origin % 2**64)
        if self.has_nan:
            missing = np.isnan(values) if values.dtype.kind == "f" else _integers(values) == _NAT
            np.copyto(out, np.uint64(self.nan_rank), where=missing)

    def _encode_floats(self, values: NDArray[Any], out: NDArray[np.uint64]) -> None:
        width = _float_width(values.dtype)
        floats = out.view(np.float64) if width == 64 else np.empty(out.shape, np.float32)
        words = floats.view(f"u{width // 8}")
        with np.errstate(invalid="ignore"):  # a signalling NaN is data here
            if values.dtype.itemsize == 2:
                np.copyto(floats, values)
                floats += 0  # -0.0 becomes +0.0
            else:
                np.add(values, values.dtype.type(0), out=floats)
        top = 1 << (width - 1)
        origin = self.origin
        if self.has_negative:
            flips = words.view(f"i{width // 8}") >> (width - 1)
            flips |= np.iinfo(flips.dtype).min
            words ^= flips.view(words.dtype)
        else:
            origin ^= top
        np.subtract(words, words.dtype.type(origin % (2 * top)), out=out)


def is_rankable(dtype: np.dtype[Any]) -> bool:
    """Return whether the values of `dtype` have ranks: bool, integers, floats to 64 bit, times."""
    return dtype.kind in "biumM" or (dtype.kind == "f" and dtype.itemsize <= 8)


def extent(values: NDArray[Any]) -> Extent:
    """Return the smallest and the largest word of `values`, a non-empty 1-d array of any layout."""
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            has_nan = bool(np.isnan(values.max()))
        numbers = values[~np.isnan(values)] if has_nan else values
    else:
        numbers = _integers(values)
        has_nan = values.dtype.kind in "mM" and int(numbers.min()) == _NAT
        if has_nan:
            numbers = numbers[numbers != _NAT]
    if numbers.size == 0:
        return Extent(None, None, has_nan)
    word = _float_word if values.dtype.kind == "f" else int
    return Extent(word(numbers.min()), word(numbers.max()), has_nan)


def ranking(dtype: np.dtype[Any], extents: Iterable[Extent]) -> Ranking:
    """Combine the extents of all parts of an array of `dtype` into its ranking."""
    extents = list(extents)
    origin = min((e.low for e in extents if e.low is not None), default=0)
    high = max((e.high for e in extents if e.high is not None), default=origin)
    has_nan = any(e.has_nan for e in extents)
    largest = high - origin + has_nan
    return Ranking(
        origin=origin,
        n_bits=largest.bit_length(),
        nan_rank=largest,
        has_nan=has_nan,
        has_negative=dtype.kind == "f" and origin < 1 << (_float_width(dtype) - 1),
    )


def _integers(values: NDArray[Any]) -> NDArray[Any]:
    """View times as the integers that they are; return other values as they are."""
    return values.view(f"{values.dtype.byteorder}i8") if values.dtype.kind in "mM" else values


def _float_width(dtype: np.dtype[Any]) -> int:
    """Return the bits of the words of a float dtype: float16 is compared as float32."""
    return 64 if dtype.itemsize == 8 else 32


def _float_word(value: np.floating[Any]) -> int:
    """Return the order-preserving word of one number."""
    width = _float_width(value.dtype)
    top = 1 << (width - 1)
    number = value.astype(f"f{width // 8}") + 0  # -0.0 becomes +0.0
    bits = int(number.view(f"u{width // 8}"))
    return bits ^ (2 * top - 1) if bits & top else bits | top
