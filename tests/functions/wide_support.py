"""Elements that are wider than a number: dtypes, values that are easily got wrong, comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.ops.support import DISTRIBUTIONS, RANKABLE, assert_same_bits, sample, specials

LONGDOUBLE_NBYTES = 10  # of 16, the others are padding whose bits nobody defines

_INNER = [("x", "i2"), ("y", ">f8"), ("s", "S3")]
WIDE: dict[str, np.dtype[Any]] = {
    **{code: np.dtype(code) for code in ("c8", "c16", ">c8", ">c16", "g", ">g", "G", ">G")},
    **{code: np.dtype(code) for code in ("S1", "S3", "S8", "S16", "S29")},
    **{code: np.dtype(code) for code in ("U1", "U4", "U9", ">U3")},
    **{code: np.dtype(code) for code in ("V1", "V4", "V8", "V9", "V23")},
    "numbers": np.dtype([("a", "i4"), ("b", "f8"), ("c", "u1")]),
    "swapped": np.dtype([("a", ">i2"), ("b", ">f4"), ("c", ">u8")]),
    "aligned": np.dtype([("a", "i1"), ("b", "f8"), ("c", "i2")], align=True),
    "padded": np.dtype(
        {"names": ["a", "b"], "formats": ["f4", "i2"], "offsets": [3, 11], "itemsize": 19}
    ),
    "backwards": np.dtype({"names": ["a", "b"], "formats": ["u2", "i4"], "offsets": [4, 0]}),
    "overlapping": np.dtype({"names": ["a", "b"], "formats": ["u4", "u2"], "offsets": [0, 2]}),
    "bools": np.dtype([("a", "?"), ("b", "?"), ("c", "i1")]),
    "complexes": np.dtype([("a", "c8"), ("b", ">c16")]),
    "times": np.dtype([("a", "M8[s]"), ("b", ">m8[ns]"), ("c", "m8[D]")]),
    "longdoubles": np.dtype([("a", "i1"), ("b", "g"), ("c", "G")]),
    "strings": np.dtype([("a", "S3"), ("b", "U2"), ("c", ">U2"), ("d", "V3")]),
    "nested": np.dtype([("p", _INNER), ("q", [("r", _INNER), ("z", "?")])]),
    "subarrays": np.dtype([("a", "i2", (2, 3)), ("b", "f4", 2), ("c", "S2", 2), ("d", "i4")]),
    "records_in_subarray": np.dtype([("a", _INNER, 2), ("b", "f4")]),
    "one": np.dtype([("a", "f8")]),
    "titled": np.dtype([(("long a", "a"), "i1"), (("long b", "b"), "f4")]),
}
RECORDS = [name for name, dtype in WIDE.items() if dtype.names]
ALL = {**{code: np.dtype(code) for code in RANKABLE}, **WIDE}


def wide_sample(distribution: str, n: int, name: str, seed: int = 0) -> np.ndarray:
    """Return values of a dtype of `ALL`; `distribution` is one of `WIDE_DISTRIBUTIONS`."""
    if name not in WIDE and distribution in DISTRIBUTIONS:
        return sample(distribution, n, name, seed)
    rng = np.random.default_rng([seed, n])
    a = np.zeros(n, ALL[name])
    with np.errstate(all="ignore"):
        WIDE_DISTRIBUTIONS[distribution](a, rng)
    return a


def leaves(a: np.ndarray) -> Iterator[np.ndarray]:
    """Yield views of the fields of fields: arrays that have none."""
    if a.dtype.names is None:
        yield a
    else:
        for name in a.dtype.names:
            yield from leaves(a[name])


def _leaf_specials(dtype: np.dtype[Any]) -> np.ndarray:
    if dtype.kind in "biumM" or (dtype.kind == "f" and dtype.itemsize <= 8):
        return specials(dtype)
    if dtype.kind == "f":
        info = np.finfo(np.longdouble)
        one, tiny = np.longdouble(1), info.smallest_subnormal
        values = [0, tiny, info.tiny, one, one + info.eps, info.max, np.inf, np.nan]
        return np.array([*values, *(-np.longdouble(v) for v in values)])
    if dtype.kind == "c":
        parts = np.array([0.0, -0.0, 1, -1, np.inf, -np.inf, np.nan, -np.nan, 5e-324])
        parts = parts.astype(f"f{dtype.itemsize // 2}")
        return _complex(np.repeat(parts, parts.size), np.tile(parts, parts.size))
    if dtype.kind == "U":
        width = dtype.itemsize // 4
        letters = ["", "a", "b", "ab", "a\0b", "\uffff", "\U0001f600", "\U0010ffff", "é"]
        return np.array([*letters, *("z" * (width - 1) + c for c in "yz")], f"U{width}")
    width = dtype.itemsize
    raw = [b"", b"\x80", b"\x7f", b"a", b"a\0b", b"\xff" * width, b"\0" * (width - 1) + b"\1"]
    raw += [b"b" * (width - 1) + bytes([c]) for c in (0, 1, 0x7F, 0x80, 0xFF)]
    return np.array([r[:width].ljust(width, b"\0") for r in raw], f"S{width}").view(f"V{width}")


def _complex(real: np.ndarray, imag: np.ndarray) -> np.ndarray:
    """Join parts without arithmetic, which would spread NaN."""
    values = np.empty(real.size, np.result_type(real, np.complex64))
    values.real, values.imag = real, imag
    return values


def _put(leaf: np.ndarray, values: np.ndarray) -> None:
    """Write native values to a leaf, bytes of S through a view that does not cut them."""
    if values.dtype.kind == "V" and leaf.dtype.kind != "V":
        values = values.view(leaf.dtype.newbyteorder("="))
    leaf[...] = values


def _few(a: np.ndarray, rng: np.random.Generator) -> None:
    """Two or three values in each field: ties nearly everywhere, and all pairs of values."""
    for leaf in leaves(a):
        vocabulary = _leaf_specials(leaf.dtype)
        _put(leaf, rng.choice(rng.choice(vocabulary, 3), leaf.shape))


def _specials(a: np.ndarray, rng: np.random.Generator) -> None:
    for leaf in leaves(a):
        _put(leaf, rng.choice(_leaf_specials(leaf.dtype), leaf.shape))


def _bits(a: np.ndarray, rng: np.random.Generator) -> None:
    """Any bits, where any are allowed: not in the code points of U, nor in longdoubles."""
    for leaf in leaves(a):
        n = leaf.size
        if leaf.dtype.kind == "U":
            points = rng.integers(0, 0x11_0000, n * leaf.dtype.itemsize // 4, dtype="u4")
            points[(points >= 0xD800) & (points < 0xE000)] = 65
            _put(leaf, points.view(leaf.dtype.newbyteorder("=")).reshape(leaf.shape))
        elif leaf.dtype.kind == "b":
            _put(leaf, rng.integers(0, 2, leaf.shape) > 0)
        elif leaf.dtype.char == "g":
            _put(leaf, _longdoubles(rng, n).reshape(leaf.shape))
        elif leaf.dtype.char == "G":
            _put(leaf, _complex(_longdoubles(rng, n), _longdoubles(rng, n)).reshape(leaf.shape))
        else:
            native = leaf.dtype.newbyteorder("=")
            values = np.frombuffer(rng.bytes(leaf.dtype.itemsize * n), native)
            _put(leaf, values.reshape(leaf.shape))


def _longdoubles(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return numbers of all 64 bits of mantissa, and of any exponent."""
    mantissa = rng.integers(1 << 62, 1 << 63, n).astype(np.longdouble) * 2
    mantissa += rng.integers(0, 2, n)
    return np.ldexp(mantissa * rng.choice([-1, 1], n), rng.integers(-200, 200, n))


def _low_end(a: np.ndarray, rng: np.random.Generator) -> None:
    """Elements that agree in all but the last bits of their last field: a common prefix."""
    *first, last = leaves(a)
    for leaf in first:
        _put(leaf, _leaf_specials(leaf.dtype)[1:2])
    _ranked(last, rng.integers(0, 200, last.shape))


def _ranked(leaf: np.ndarray, ranks: np.ndarray) -> None:
    """Write values whose order is that of ranks below 2**16, where the leaf has the room."""
    dtype = leaf.dtype
    if dtype.kind == "c":
        leaf.real, leaf.imag = ranks >> 4, ranks & 15
    elif dtype.kind == "U":
        width = dtype.itemsize // 4
        points = np.full((*leaf.shape, width), 0x1F600, "u4")
        points[..., -1] = 65 + ranks % 50_000
        _put(leaf, points.view(f"U{width}")[..., 0])
    elif dtype.kind in "SV":
        digits = np.full((*leaf.shape, dtype.itemsize), 0x41, "u1")
        digits[..., -1] = ranks & 255
        if dtype.itemsize > 1:
            digits[..., -2] = ranks >> 8
        _put(leaf, digits.view(f"V{dtype.itemsize}")[..., 0])
    elif dtype.kind in "mM":
        leaf[...] = ranks.astype("i8").view(dtype.newbyteorder("="))
    else:
        leaf[...] = ranks.astype(dtype)


def _by_rank(ranks: Callable[[int, np.random.Generator], np.ndarray]) -> Callable[..., None]:
    def fill(a: np.ndarray, rng: np.random.Generator) -> None:
        *first, last = leaves(a)
        numbers = ranks(a.size, rng)
        for leaf in first:
            _ranked(
                leaf, np.zeros(leaf.shape, int) + (numbers >> 5).reshape(-1, *[1] * (leaf.ndim - 1))
            )
        low = numbers & 31 if first else numbers
        _ranked(last, np.zeros(last.shape, int) + low.reshape(-1, *[1] * (last.ndim - 1)))

    return fill


def _outlier(a: np.ndarray, rng: np.random.Generator) -> None:
    """A dense cluster, and one element far below and one far above it."""
    _low_end(a, rng)
    if a.size > 4:
        for leaf in leaves(a):
            far = np.sort(_leaf_specials(leaf.dtype))
            far = far[~np.isnan(far)] if far.dtype.kind in "fcmM" else far
            where = rng.choice(a.size, 2, replace=False)
            for i, value in zip(where, (far[0], far[-1]), strict=True):
                _put(leaf[i : i + 1], np.broadcast_to(value, leaf[i : i + 1].shape))


WIDE_DISTRIBUTIONS: dict[str, Callable[[np.ndarray, np.random.Generator], None]] = {
    "few": _few,
    "specials": _specials,
    "bits": _bits,
    "low_end": _low_end,
    "outlier": _outlier,
    "sorted": _by_rank(lambda n, rng: np.arange(n) % 60_000),
    "reversed": _by_rank(lambda n, rng: np.arange(n)[::-1] % 60_000),
    "equal": _by_rank(lambda n, rng: np.full(n, 7)),
    "organ_pipe": _by_rank(lambda n, rng: np.minimum(np.arange(n), n - np.arange(n)) % 60_000),
    "zipf": _by_rank(lambda n, rng: rng.zipf(1.3, n) % 60_000),
    "blocks": _by_rank(lambda n, rng: np.arange(n) // 7 * 1_000_003 % 1009),
}


def assert_same_elements(result: Any, expected: Any) -> None:
    """Compare the bits of every field, and not what lies between fields or pads a longdouble."""
    result, expected = np.asarray(result), np.asarray(expected)
    assert result.dtype == expected.dtype
    assert result.shape == expected.shape
    for found, wanted in zip(leaves(result), leaves(expected), strict=True):
        if found.dtype.char == "G":
            pairs = [(found.real, wanted.real), (found.imag, wanted.imag)]
        else:
            pairs = [(found, wanted)]
        for x, y in pairs:
            if x.dtype.char == "g":
                x, y = (_longdouble_bits(part) for part in (x, y))
            assert_same_bits(x, y)


def _longdouble_bits(a: np.ndarray) -> np.ndarray:
    raw = np.ascontiguousarray(a).reshape(-1).view(np.uint8).reshape(-1, 16)
    padding = slice(LONGDOUBLE_NBYTES, None) if a.dtype.isnative else slice(0, -LONGDOUBLE_NBYTES)
    raw = raw.copy()
    raw[:, padding] = 0
    return raw


def missing_parts(a: np.ndarray) -> np.ndarray:
    """Return how far behind an element goes for what it lacks: NaN, NaT, parts of complex."""
    if a.dtype.kind == "c":
        return 2 * np.isnan(a.real).astype(int) + np.isnan(a.imag)
    return np.isnan(a).astype(int) if a.dtype.kind in "fmM" else np.zeros(a.shape, int)


def _same_as_before(a: np.ndarray) -> np.ndarray:
    """Return of sorted elements, not the first, whether each one is equal to that before it."""
    if a.dtype.kind == "c":
        return _same_as_before(a.real) & _same_as_before(a.imag)
    former, latter = a[:-1], a[1:]
    if a.dtype.kind == "b":
        former, latter = former.view(np.uint8), latter.view(np.uint8)
    return (former == latter) | ((former != former) & (latter != latter))


def descending_order(a: np.ndarray) -> np.ndarray:
    """Return the stable argsort of shape (n,) that puts larger elements first."""
    if not a.size:
        return np.empty(0, np.intp)
    with np.errstate(all="ignore"):
        ascending = np.argsort(a, kind="stable")
        rank = np.empty(a.size, np.intp)
        rank[ascending] = np.cumsum(~np.append(False, _same_as_before(a[ascending])))
        return np.lexsort((-rank, missing_parts(a)))
