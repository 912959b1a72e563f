"""Order-preserving keys: every fixed-width number becomes an unsigned rank.

Each value has an integer word, in NumPy's sort order: -0.0 equals +0.0, all NaN are equal and last,
NaT is last. Its rank is the distance of its word from the smallest word in the array.

==================  ================================================================================
dtype               word
==================  ================================================================================
bool, integers      the value
datetime, timedelta the integer; NaT comes after the largest
float32, float64    the bits without the sign, less the `gap`, with the sign; NaN after the largest
float16             as float32, which holds every float16
==================  ================================================================================

The gap is what no number in the array uses between zero and the smallest magnitude. Without it,
numbers of both signs would spend nine tenths of the range of their words on exponents that do not
occur. Low bits that are the same in all 64-bit words are left out as well: integers stored as
floats, and dates stored as nanoseconds, have many of these.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Extent",
    "Ranking",
    "extent",
    "full_extent",
    "in_order",
    "is_rankable",
    "n_before_nan",
    "ranking",
]

_NAT = np.iinfo(np.int64).min


class Extent(NamedTuple):
    """The range of a part of an array.

    `low` and `high` are the smallest and the largest word, floats without their gap; None where all
    is NaN or NaT. No magnitude of a float lies between 0 and `tiny`. `first` is a word, `different`
    the bits in which any other word differs from it; of floats the bits without the sign, and the
    first one is taken for 0. 1 where that is not known.
    """

    low: int | None
    high: int | None
    tiny: int
    has_nan: bool
    first: int = 0
    different: int = 1


class Ranking(NamedTuple):
    """How the values of one array become ranks.

    A rank is the distance of a word from `origin`, the smallest one; every rank is below ``2 **
    n_bits``, that of a number at most `largest`, and NaN and NaT have `nan_rank`, above all others.
    The magnitudes of floats are lowered by `gap`, and `shift` low bits are left out. `has_nan` and
    `has_negative` are the steps that the encoding needs. With `descending`, larger values have
    lower ranks; NaN and NaT come last all the same.
    """

    origin: int
    n_bits: int
    gap: int
    shift: int
    largest: int
    nan_rank: int
    has_nan: bool
    has_negative: bool
    descending: bool = False

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
        if self.shift:
            out >>= np.uint64(self.shift)
        if self.descending:
            np.subtract(np.uint64(self.largest), out, out=out)
        if self.has_nan:
            missing = np.isnan(values) if values.dtype.kind == "f" else _integers(values) == _NAT
            np.copyto(out, np.uint64(self.nan_rank), where=missing)

    def _encode_floats(self, values: NDArray[Any], out: NDArray[np.uint64]) -> None:
        width = _float_width(values.dtype)
        floats = out.view(np.float64) if width == 64 else np.empty(out.shape, np.float32)
        words = floats.view(f"i{width // 8}")
        with np.errstate(invalid="ignore"):  # a signalling NaN is data here
            if values.dtype.itemsize == 2:
                np.copyto(floats, values)
                floats += 0  # -0.0 becomes +0.0
            else:
                np.add(values, values.dtype.type(0), out=floats)
        origin = self.origin
        if self.has_negative:
            sign = words >> (width - 1)  # -1 or 0
            words &= np.iinfo(words.dtype).max
            self._close_gap(words)
            words ^= sign
            words -= sign
        elif origin <= 0:
            self._close_gap(words)
        else:  # nothing below the gap
            origin += self.gap
        unsigned = words.view(f"u{width // 8}")
        np.subtract(unsigned, unsigned.dtype.type(origin % 2**width), out=out)

    def _close_gap(self, magnitudes: NDArray[Any]) -> None:
        if self.gap:
            np.maximum(magnitudes, self.gap, out=magnitudes)
            magnitudes -= magnitudes.dtype.type(self.gap)


def is_rankable(dtype: np.dtype[Any]) -> bool:
    """Return whether the values of `dtype` have ranks: bool, integers, floats to 64 bit, times."""
    return dtype.kind in "biumM" or (dtype.kind == "f" and dtype.itemsize <= 8)


def in_order(values: NDArray[Any], *, descending: bool = False) -> bool:
    """Return whether no element goes before the one ahead of it; False where there is NaN."""
    former, latter = (values[1:], values[:-1]) if descending else (values[:-1], values[1:])
    with np.errstate(invalid="ignore"):
        return bool(np.all(former <= latter))


def n_before_nan(a: NDArray[Any]) -> int:
    """Return how many elements of a sorted array are neither NaN nor NaT, by bisection."""
    if a.dtype.kind not in "cfmM":
        return a.size
    return bisect_left(range(a.size), True, key=lambda i: bool(np.isnan(a[i])))


def extent(values: NDArray[Any], *, tight: bool = True) -> Extent:
    """Return the extent of `values`, a non-empty 1-d array of any layout.

    If not `tight`, what would take more than a look for the range is not known: gap and low bits.
    """
    numbers, has_nan = _numbers(values)
    if not numbers.size:
        return Extent(None, None, 0, has_nan)
    low, high = numbers.min(), numbers.max()
    if values.dtype.kind == "f":
        low, high = _float_word(low), _float_word(high)
        if not tight:
            return Extent(low, high, 0, has_nan)
        return Extent(low, high, _tiny(numbers, low, high), has_nan, 0, _float_bits(numbers))
    first, different = _difference(numbers) if tight else (0, 1)
    return Extent(int(low), int(high), 0, has_nan, first, different)


def _numbers(values: NDArray[Any]) -> tuple[NDArray[Any], bool]:
    """Return the numbers in `values`, times as integers; and whether NaN or NaT is left out."""
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            largest = values.max()  # NaN if there is any
        has_nan = bool(largest != largest)
        return (values[~np.isnan(values)] if has_nan else values), has_nan
    numbers = _integers(values)
    has_nan = values.dtype.kind in "mM" and int(numbers.min()) == _NAT
    return (numbers[numbers != _NAT] if has_nan else numbers), has_nan


def full_extent(dtype: np.dtype[Any]) -> Extent:
    """Return the extent that holds all values of a dtype."""
    if dtype.kind == "f":
        infinity = _float_word(dtype.type(np.inf))
        return Extent(-infinity, infinity, 0, has_nan=True)
    if dtype.kind == "b":
        return Extent(0, 1, 0, has_nan=False)
    limits = np.iinfo(np.int64 if dtype.kind in "mM" else dtype)
    is_time = dtype.kind in "mM"
    return Extent(int(limits.min) + is_time, int(limits.max), 0, has_nan=is_time)


def ranking(extents: Iterable[Extent], *, descending: bool = False) -> Ranking:
    """Combine the extents of all parts of an array into its ranking."""
    extents = list(extents)
    lows = [e.low for e in extents if e.low is not None]
    highs = [e.high for e in extents if e.high is not None]
    tinies = [e.tiny for e in extents if e.tiny]
    shift = _n_common([e for e in extents if e.low is not None])
    gap = (min(tinies) - 1 if tinies else 0) >> shift << shift
    origin, high = (
        _without_gap(word, gap) for word in (min(lows, default=0), max(highs, default=0))
    )
    has_nan = any(e.has_nan for e in extents)
    largest = (high - origin) >> shift
    # NaN alone needs no rank of its own; else it takes the highest there is, so that its leading
    # bits are those of few numbers.
    n_bits = (largest + (has_nan and bool(lows))).bit_length()
    return Ranking(
        origin=origin,
        n_bits=n_bits,
        gap=gap,
        shift=shift,
        largest=largest,
        nan_rank=(1 << n_bits) - 1,
        has_nan=has_nan,
        has_negative=origin < 0,
        descending=descending,
    )


def _integers(values: NDArray[Any]) -> NDArray[Any]:
    """View times as the integers that they are; return other values as they are."""
    return values.view(f"{values.dtype.byteorder}i8") if values.dtype.kind in "mM" else values


def _float_width(dtype: np.dtype[Any]) -> int:
    """Return the bits of the words of a float dtype: float16 is compared as float32."""
    return 64 if dtype.itemsize == 8 else 32


def _float_word(value: np.floating[Any]) -> int:
    """Return the bits without the sign, with the sign: in the order of the values."""
    width = _float_width(value.dtype)
    magnitude = int(abs(value).astype(f"f{width // 8}").view(f"u{width // 8}"))
    return -magnitude if value < 0 else magnitude


def _tiny(numbers: NDArray[Any], low: int, high: int) -> int:
    """Return the smallest magnitude, as a word, of the float64 in `numbers` that are not zero.

    Narrower floats always fit beside an index, so that it does not matter what their words waste.
    """
    if numbers.dtype.itemsize < 8:
        return 0
    if low > 0 or high < 0:
        return min(abs(low), abs(high))
    if low == high:
        return 0
    magnitudes = np.abs(numbers, dtype=np.float64).view(np.uint64)
    magnitudes -= np.uint64(1)  # zero becomes the largest
    return int(magnitudes.min()) + 1


def _difference(integers: NDArray[Any]) -> tuple[int, int]:
    """Return one of the 64-bit integers, and the bits in which the others differ from it."""
    if integers.dtype.itemsize < 8:
        return 0, 1
    words = integers.view(f"{integers.dtype.byteorder}u8")
    first = words[0]
    return int(first), int(np.bitwise_or.reduce(words ^ first))


def _float_bits(numbers: NDArray[Any]) -> int:
    """Return the bits that any of the float64 has, but the sign."""
    if numbers.dtype.itemsize < 8:
        return 1
    words = numbers.view(f"{numbers.dtype.byteorder}u8")
    return int(np.bitwise_or.reduce(words)) & np.iinfo(np.int64).max


def _n_common(extents: list[Extent]) -> int:
    """Return how many low bits all words have in common."""
    different = 0
    for e in extents:
        different |= e.different | (e.first ^ extents[0].first)
    return (different & -different).bit_length() - 1 if different else 0


def _without_gap(word: int, gap: int) -> int:
    magnitude = max(abs(word) - gap, 0)
    return -magnitude if word < 0 else magnitude
