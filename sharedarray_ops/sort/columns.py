"""Any fixed-width dtype as a sequence of columns, and their ranks as one wide key.

Elements are compared column by column: by the first one, where that is equal by the next.

==========================  ========================================================================
dtype                       columns
==========================  ========================================================================
bool, integers, floats to   the value itself, see `keys`
64 bits, times
complex                     which parts are NaN; the real part; the imaginary part
longdouble                  sign, exponent and the upper 48 bits of the mantissa; the lower 16 bits
S, V, subarrays in fields   8 bytes each, read as big-endian integers, and the rest
U                           each code point
structured                  the columns of its fields; a `Direction` says which come first
==========================  ========================================================================

The ranks of all columns, one after the other, are the bits of one unsigned integer, the key: of
two elements the one that NumPy sorts first has the smaller key, and equal elements have equal keys.
A column takes only as many bits as the range of its values needs, none where all are equal. So
letters take 5 to 7 bits each, and a common prefix takes none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, blocks
from sharedarray_ops.sort.keys import Extent, Ranking, extent, full_extent, is_rankable, ranking

__all__ = [
    "ASCENDING",
    "Column",
    "Direction",
    "Key",
    "columns_of",
    "is_sortable",
    "leading",
    "survey",
]

# Bytes of elements that are looked at together. Where there are several columns of them, they are
# in the cache from the first one on; else the less often Python has the GIL the better.
BLOCK_NBYTES = 4 << 20
CACHED_NBYTES = 1 << 20

_X87 = np.finfo(np.longdouble).nmant == 63 and np.dtype(np.longdouble).itemsize == 16


class Direction(NamedTuple):
    """What is compared: fields that come first, and whether larger elements do.

    NaN and NaT come last in both directions.
    """

    fields: tuple[str, ...] = ()
    descending: bool = False


ASCENDING = Direction()


class Column(NamedTuple):
    """One number of each element: views of the elements, in any layout.

    `word` turns some of the values into numbers that have ranks; it is None where they have. With
    `descending`, larger numbers go first.
    """

    values: NDArray[Any]
    word: Callable[[NDArray[Any]], NDArray[Any]] | None = None
    descending: bool = False

    def at(self, where: slice | NDArray[np.intp]) -> NDArray[Any]:
        """Return the numbers of some elements."""
        values = self.values[where]
        return values if self.word is None else self.word(values)


class Key(NamedTuple):
    """The ranks of all columns as one integer of `n_bits` bits.

    `parts` are the columns that are not constant, from the upper end of the key down, and the
    position of the lowest bit of each.
    """

    parts: list[tuple[Column, Ranking, int]]
    n_bits: int

    @classmethod
    def of(cls, columns: Sequence[Column], extents: Sequence[Sequence[Extent]]) -> Key:
        """Make the key of columns; `extents` are those of the first columns or all of them."""
        rankings = [
            ranking(found, descending=column.descending)
            for column, found in zip(columns, extents, strict=False)
        ]
        rankings += [
            ranking([full_extent(column.at(slice(0)).dtype)], descending=column.descending)
            for column in columns[len(extents) :]
        ]
        low = n_bits = sum(rank.n_bits for rank in rankings)
        parts = []
        for column, rank in zip(columns, rankings, strict=True):
            low -= rank.n_bits
            if rank.n_bits:
                parts.append((column, rank, low))
        return cls(parts, n_bits)

    def write(
        self,
        where: slice | NDArray[np.intp],
        top: int,
        shift: int,
        out: NDArray[np.uint64],
    ) -> None:
        """Write to `out` the bits from `shift` up to, not including, `top` of some elements' keys.

        They have to be at most 64. `where` selects as many elements as `out` has.
        """
        parts = [p for p in self.parts if p[2] < top and p[2] + p[1].n_bits > shift]
        if not parts:
            out[...] = 0
        bits = out
        for column, rank, low in parts:
            rank.encode(column.at(where), bits)
            if top < low + rank.n_bits:
                bits &= np.uint64((1 << (top - low)) - 1)
            if shift > low:
                bits >>= np.uint64(shift - low)
            elif shift < low:
                bits <<= np.uint64(low - shift)
            if bits is not out:
                out |= bits
            elif len(parts) > 1:
                bits = np.empty_like(out)

    def neighbours_equal(self, where: NDArray[np.intp], top: int) -> NDArray[np.bool_]:
        """Return of each element but the first whether its key below `top` is that before it."""
        equal = np.ones(where.size - 1, np.bool_)
        bits = np.empty(where.size, np.uint64)
        for column, rank, low in self.parts:
            if low < top:
                rank.encode(column.at(where), bits)
                equal &= bits[1:] == bits[:-1]
        return equal


def is_sortable(dtype: np.dtype[Any]) -> bool:
    """Return whether `columns_of` knows the dtype: fixed width, and no unknown kind of number."""
    if dtype.names is not None:
        return not dtype.hasobject and all(
            is_sortable(dtype.fields[name][0])  # type: ignore[index]
            for name in dtype.names
        )
    if dtype.subdtype is not None:
        return not dtype.hasobject
    if dtype.char in "gG":
        return _X87 or np.dtype(np.longdouble).itemsize == 8
    return is_rankable(dtype) or dtype.kind in "cSUV"


def columns_of(a: NDArray[Any], direction: Direction = ASCENDING) -> list[Column]:
    """Return the columns of an array of a dtype that `is_sortable` accepts, as views of it."""
    if a.dtype.kind == "b":  # of a bool that is not 0 or 1, NumPy compares the byte
        found = [Column(a.view(np.uint8))]
    elif a.dtype.names is not None:
        rest = (name for name in a.dtype.names if name not in direction.fields)
        names = (*direction.fields, *rest)
        found = [column for name in names for column in _split_field(a, name)]
    else:
        found = list(_split(a))
    # Which parts of a complex number are NaN goes up in both directions.
    return [c._replace(descending=direction.descending and c.word is not _missing) for c in found]


def _split(a: NDArray[Any]) -> Iterator[Column]:
    dtype = a.dtype
    if dtype.names is not None:
        for name in dtype.names:
            yield from _split_field(a, name)
    elif dtype.char in "gG" and dtype.itemsize == 8 * (1 + (dtype.kind == "c")):
        yield from _split(a.view(f"{dtype.byteorder}{dtype.kind}{dtype.itemsize}"))
    elif dtype.kind == "c":
        yield Column(a, _missing)
        yield from _split(a.real)
        yield from _split(a.imag)
    elif dtype.char == "g":
        yield Column(a, _upper_bits)
        yield Column(a, _lower_bits)
    elif dtype.kind == "U":
        yield from _pieces(a, f"{dtype.byteorder}u4", 4)
    elif dtype.kind in "SV":
        yield from _bytes(a)
    elif dtype.kind == "b":
        yield Column(a, _truth)
    else:
        yield Column(a)


def _split_field(a: NDArray[Any], name: str) -> Iterator[Column]:
    field, offset = a.dtype.fields[name][:2]  # type: ignore[index]
    if field.char == "e":
        yield Column(a[name], _half_of_field)
    elif field.subdtype is None:
        yield from _split(a[name])
    elif field.itemsize:  # NumPy compares subarrays byte by byte
        yield from _bytes(_field(a, f"V{field.itemsize}", offset))


def _pieces(a: NDArray[Any], piece: str, nbytes: int) -> Iterator[Column]:
    """View each element as integers of one width."""
    for offset in range(0, a.dtype.itemsize, nbytes):
        yield Column(_field(a, piece, offset))


def _bytes(a: NDArray[Any]) -> Iterator[Column]:
    """View each element as big-endian integers."""
    width, offset = a.dtype.itemsize, 0
    while offset < width:
        nbytes = min(8, 1 << ((width - offset).bit_length() - 1))
        yield Column(_field(a, f">u{nbytes}", offset))
        offset += nbytes


def _field(a: NDArray[Any], dtype: str, offset: int) -> NDArray[Any]:
    """View a part of each element."""
    fields = {"names": ["f"], "formats": [dtype], "offsets": [offset], "itemsize": a.itemsize}
    part: NDArray[Any] = a.view(np.dtype(fields))["f"]  # type: ignore[call-overload]
    return part


def _truth(values: NDArray[Any]) -> NDArray[Any]:
    truth: NDArray[Any] = values.view(np.uint8) != 0
    return truth


def _half_of_field(values: NDArray[Any]) -> NDArray[Any]:
    """Return integers in the order of float16, in which NumPy puts NaN first in fields."""
    with np.errstate(invalid="ignore"):
        floats = np.add(values, 0, dtype=np.float32)  # -0.0 becomes +0.0
    words = floats.view(np.int32)
    magnitude: NDArray[Any] = words & np.int32(0x7FFFFFFF)
    np.negative(magnitude, out=magnitude, where=words < 0)
    magnitude[np.isnan(floats)] = np.iinfo(np.int32).min
    return magnitude


def _missing(values: NDArray[Any]) -> NDArray[Any]:
    """Say which parts of complex numbers are NaN: 1 the imaginary one, 2 the real one, 3 both."""
    with np.errstate(invalid="ignore"):
        missing: NDArray[np.uint8] = np.isnan(values.real).astype(np.uint8)
        missing *= np.uint8(2)
        missing += np.isnan(values.imag)
    return missing


def _halves(values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return the upper 64 bits of longdoubles in their order, the lower 16, and which are NaN."""
    with np.errstate(invalid="ignore"):
        floats = np.add(values, np.longdouble(0))  # native, contiguous, and -0.0 becomes +0.0
        missing = np.isnan(floats)
    words = floats.view(np.uint64).reshape(-1, 2)
    mantissa, exponent = words[:, 0], words[:, 1]
    upper = ((exponent & np.uint64(0x7FFF)) << np.uint64(48) | mantissa >> np.uint64(16)).view("i8")
    lower = (mantissa & np.uint64(0xFFFF)).view("i8")
    is_negative = (exponent & np.uint64(0x8000)) != 0
    np.invert(upper, out=upper, where=is_negative)
    np.subtract(0xFFFF, lower, out=lower, where=is_negative)
    return upper, lower, missing


def _upper_bits(values: NDArray[Any]) -> NDArray[Any]:
    upper, _, missing = _halves(values)
    times = upper.view("m8[s]")  # which have a value for what is missing, and it comes last
    times[missing] = np.timedelta64("NaT", "s")
    return times


def _lower_bits(values: NDArray[Any]) -> NDArray[Any]:
    _, lower, missing = _halves(values)
    lower[missing] = 0
    return lower


def survey(
    columns: Sequence[Column],
    chunk: Chunk,
    index: NDArray[np.intp] | None = None,
    block_length: int | None = None,
) -> list[list[Extent]]:
    """Return the extents of each column in a chunk of elements, or of an index of elements.

    At most `block_length` elements are looked at together.
    """
    extents: list[list[Extent]] = [[] for _ in columns]
    for i, j in blocks(*chunk, min(block_size(columns), block_length or chunk.stop)):
        where = slice(i, j) if index is None else index[i:j]
        for column, found in zip(columns, extents, strict=True):
            found.append(extent(column.at(where)))
    return extents


def leading(columns: Sequence[Column], sample: NDArray[np.intp], n_bits: int) -> list[Column]:
    """Return as many of the first columns as it takes to have `n_bits` bits of key, or all.

    By a sample of the elements, which may find fewer bits than there are, and so more columns.
    """
    for n, column in enumerate(columns, 1):
        n_bits -= ranking([extent(column.at(sample))]).n_bits
        if n_bits <= 0:
            return list(columns[:n])
    return list(columns)


def block_size(columns: Sequence[Column]) -> int:
    """Return how many elements are looked at together."""
    reach = max((abs(c.values.strides[0]) for c in columns), default=1)
    nbytes = BLOCK_NBYTES if len(columns) == 1 else CACHED_NBYTES
    return max(1 << 12, nbytes // max(1, reach))
