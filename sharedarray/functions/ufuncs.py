"""NumPy's elementwise functions on SharedArrays: ``np.exp(a)``, ``a + b``, ``a += 1``, ``a < b``.

`SharedArray.__array_ufunc__` calls them. Left to NumPy, which NotImplemented says: small arrays,
ufuncs of other libraries, reductions, operands of other classes, objects and strings, operands that
overlap the output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy._core import umath  # no public name leads to the ufunc behind np.clip
from numpy.typing import NDArray

from sharedarray import config
from sharedarray.functions.calls import numpy_errors, pool_for
from sharedarray.functions.thresholds import MIN_CHEAP, MIN_CHEAP_GIVEN, MIN_DEAR, MIN_MIDDLE, pays
from sharedarray.memory.array import SharedArray, implements
from sharedarray.memory.cache import recycled
from sharedarray.memory.protocols import LEAST
from sharedarray_ops import ufuncs
from sharedarray_ops.ufuncs import Flags

__all__ = ["can_share", "overlaps"]

# Not fmin and fmax: which of two NaN they give, a signalling one among them, depends on where in
# NumPy's buffers it stands.
#
# Up to half a nanosecond an element: the time goes to the memory.
_CHEAP = """
absolute add bitwise_and bitwise_count bitwise_or bitwise_xor ceil clip conjugate copysign divide
equal floor greater greater_equal invert isfinite isinf isnan isnat left_shift less less_equal
logical_and logical_not logical_or logical_xor maximum minimum multiply negative not_equal positive
reciprocal right_shift rint sign signbit square subtract trunc
"""
# About one nanosecond.
_MIDDLE = """
arctan arcsinh arctan2 cbrt cosh deg2rad degrees exp exp2 expm1 fabs frexp heaviside ldexp log log10
log1p log2 modf power rad2deg radians sinh spacing sqrt tan tanh
"""
# From two to twenty, as float64.
_DEAR = """
arccos arccosh arcsin arctanh cos divmod float_power floor_divide fmod gcd hypot lcm logaddexp
logaddexp2 nextafter remainder sin
"""


def _thresholds() -> dict[Any, int]:
    found: dict[Any, int] = {}
    for names, size in ((_CHEAP, MIN_CHEAP), (_MIDDLE, MIN_MIDDLE), (_DEAR, MIN_DEAR)):
        for name in names.split():
            found[getattr(umath, name)] = size
    return found


# From how many elements of the result a ufunc runs in parallel. Ufuncs of other packages do not:
# they need not be thread-safe.
MIN_SIZE = _thresholds()
LEAST.update(MIN_SIZE)

_ARRAYS = frozenset((np.ndarray, SharedArray, np.memmap))
# bool, integers, floats, complex numbers, times: loops without the GIL.
_KINDS = frozenset("biufcmM")
# Arguments that each tile gets as they are.
_OPTIONS = frozenset(("casting", "dtype", "signature"))
_HANDLED = _OPTIONS | {"out", "where", "order", "subok"}


@implements(np.ndarray.__array_ufunc__)
def _array_ufunc(
    flags: Flags, ufunc: np.ufunc, method: str, inputs: Sequence[Any], kwargs: dict[str, Any]
) -> Any:
    """Return what NumPy returns, or NotImplemented if the call is left to NumPy.

    Warnings are added to `flags`.
    """
    least = MIN_SIZE.get(ufunc)
    if least is None or not _is_large(method, inputs, kwargs.get("out", ()), least):
        return NotImplemented
    if method == "outer":
        if len(inputs) != 2 or not _ARRAYS.issuperset(map(type, inputs)):
            return NotImplemented
        a, b = inputs
        inputs = (a.reshape(a.shape + (1,) * b.ndim), b)
    elif method != "__call__":
        return NotImplemented
    call = _Call.of(ufunc, inputs, kwargs)
    if call is not None and least == MIN_CHEAP and not call.makes_large_results:
        least = MIN_CHEAP_GIVEN
    if call is None or not pays(call.size, _least(least, inputs)):
        return NotImplemented
    if config.get_num_workers() < 2:
        return NotImplemented
    return call.run(flags)


def _is_large(method: str, inputs: Sequence[Any], outs: Sequence[Any], least: int) -> bool:
    """Return whether the result may have `least` elements."""
    product, shape, is_broadcast = 1, None, method == "outer"
    for x in inputs:
        if isinstance(x, np.ndarray):
            size = x.size
            if size >= least:
                return True
            product *= size
            is_broadcast = is_broadcast or (shape is not None and x.shape != shape)
            shape = x.shape
    # Of rows and columns the result has more elements than any of them.
    if is_broadcast and product >= least:
        return True
    return any(isinstance(out, np.ndarray) and out.size >= least for out in outs)


def _least(size: int, inputs: Sequence[Any]) -> int:
    """Return from how many elements a call pays: narrow ones take less time, dear ones too."""
    width = max([x.itemsize for x in inputs if isinstance(x, np.ndarray) and x.ndim], default=8)
    return size if width >= 8 else max(size, MIN_MIDDLE) * 8 // width


class _Call(NamedTuple):
    """One call of a ufunc, resolved.

    Inputs are plain arrays of the shape of the result, and scalars; an output to allocate is None;
    `mask` is the array of `where`.
    """

    ufunc: np.ufunc
    inputs: Sequence[Any]
    outs: Sequence[Any]
    mask: NDArray[Any] | None
    dtypes: Sequence[np.dtype[Any]]
    order: Any
    options: dict[str, Any]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, ufunc: np.ufunc, inputs: Sequence[Any], kwargs: dict[str, Any]) -> _Call | None:
        """Return the call, or None if it is left to NumPy, perhaps for its errors."""
        outs = kwargs.get("out", (None,) * ufunc.nout)
        mask, order = kwargs.get("where", True), kwargs.get("order", "K")
        if len(inputs) != ufunc.nin or not _HANDLED.issuperset(kwargs) or order not in _ORDERS:
            return None
        arrays = [x for x in (*inputs, mask) if isinstance(x, np.ndarray)]
        arrays += [out for out in outs if out is not None]
        if not _ARRAYS.issuperset(map(type, arrays)) or not all(map(can_share, arrays)):
            return None
        if not all(isinstance(x, (np.ndarray, np.generic, int, float, complex)) for x in inputs):
            return None
        if mask is not True and (not isinstance(mask, np.ndarray) or _has_none(outs)):
            return None
        options = {name: value for name, value in kwargs.items() if name in _OPTIONS}
        dtypes = _result_dtypes(ufunc, inputs, outs, mask, options)
        shape = _result_shape(inputs, outs, mask)
        if dtypes is None or shape is None or not _are_apart(inputs, outs, mask):
            return None
        plain = [_spread(x, shape) for x in inputs]
        where = None if mask is True else _spread(mask, shape)
        return cls(ufunc, plain, outs, where, dtypes, order, options, shape)

    @property
    def size(self) -> int:
        """Return the number of elements of the result."""
        return int(np.prod(self.shape, dtype=np.intp))

    @property
    def makes_large_results(self) -> bool:
        """Return whether all outputs are new and at least as wide as float64."""
        return all(out is None for out in self.outs) and all(d.itemsize >= 8 for d in self.dtypes)

    def run(self, flags: Flags) -> Any:
        """Return what the ufunc returns; its outputs are set by all workers."""
        ufunc, options = self.ufunc, self.options
        scalars = [None if isinstance(x, np.ndarray) and x.ndim else x for x in self.inputs]
        arrays = [x for x, scalar in zip(self.inputs, scalars, strict=True) if scalar is None]
        given = [None if out is None else out.view(np.ndarray) for out in self.outs]
        masks = [] if self.mask is None else [self.mask]
        operands = [*arrays, *given, *masks]
        n_arrays, n_outs = len(arrays), len(given)
        if _has_none(given):
            wanted = [d if out is None else None for out, d in zip(given, self.dtypes, strict=True)]
            dtypes = [*[None] * n_arrays, *wanted, *[None] * len(masks)]
            operands = ufuncs.allocated(operands, dtypes, self.order)
        for i, out in enumerate(given, n_arrays):
            if out is None:
                operands[i] = recycled(operands[i])
        # The axes of a tile are in the order of the iteration.
        order = "K" if self.order == "K" else "C"

        def kernel(*parts: NDArray[Any]) -> None:
            rest = iter(parts)
            args = [next(rest) if scalar is None else scalar for scalar in scalars]
            outs = parts[n_arrays : n_arrays + n_outs]
            where = parts[n_arrays + n_outs] if masks else True
            ufunc(*args, out=outs, where=where, order=order, **options)

        with numpy_errors():
            flags += ufuncs.apply(kernel, operands, self.order, pool_for(None))
        new = operands[n_arrays : n_arrays + n_outs]
        results = [n if out is None else out for n, out in zip(new, self.outs, strict=True)]
        return results[0] if len(results) == 1 else tuple(results)


_ORDERS = ("K", "A", "C", "F")


def _has_none(values: Sequence[Any]) -> bool:
    return any(value is None for value in values)


def can_share(a: NDArray[Any]) -> bool:
    """Return whether NumPy computes and copies elements of this kind without the GIL."""
    return a.dtype.kind in _KINDS


def _result_dtypes(
    ufunc: np.ufunc,
    inputs: Sequence[Any],
    outs: Sequence[Any],
    mask: Any,
    options: dict[str, Any],
) -> list[np.dtype[Any]] | None:
    """Return the dtypes of the outputs, from a call without elements, or None if it fails."""
    flags = Flags()
    try:
        with np.errstate(all="log", call=flags):
            results = ufunc(
                *map(_empty, inputs), out=tuple(map(_empty, outs)), where=_empty(mask), **options
            )
    except Exception:  # NumPy will raise it for the call itself
        return None
    if flags:  # a scalar that does not fit: each tile would warn
        return None
    dtypes = [result.dtype for result in (results if ufunc.nout > 1 else [results])]
    # NumPy has a warning of its own for complex to real.
    kinds = [x.dtype.kind for x in inputs if isinstance(x, np.ndarray)]
    if options.get("casting") == "unsafe" and "c" in kinds:
        return None
    return dtypes if all(dtype.kind in _KINDS for dtype in dtypes) else None


def _empty(x: Any) -> Any:
    """Return an empty array of the dtype of an array; scalars as they are."""
    if not isinstance(x, np.ndarray) or not x.ndim:
        return x.view(np.ndarray) if isinstance(x, np.ndarray) else x
    return np.empty(0, x.dtype)


def _result_shape(inputs: Sequence[Any], outs: Sequence[Any], mask: Any) -> tuple[int, ...] | None:
    """Return the shape of the result; None if the shapes do not fit together."""
    arrays = [x for x in (*inputs, *outs, mask) if isinstance(x, np.ndarray)]
    try:
        shape = np.broadcast(*[x.view(np.ndarray) for x in arrays]).shape
    except ValueError:
        return None
    return shape if all(out is None or out.shape == shape for out in outs) else None


def _are_apart(inputs: Sequence[Any], outs: Sequence[Any], mask: Any) -> bool:
    """Return whether tiles are independent.

    An input may be the output itself, element for element; if they overlap otherwise, NumPy copies
    first.
    """
    given = [out for out in outs if out is not None]
    others = [x for x in (*inputs, mask) if isinstance(x, np.ndarray)]
    for i, out in enumerate(given):
        if not out.flags.writeable or overlaps(out):
            return False
        if any(np.may_share_memory(out, other) for other in given[:i]):
            return False
        if any(np.may_share_memory(out, x) and not _is_same(out, x) for x in others):
            return False
    return True


def _is_same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return (
        a.shape == b.shape
        and a.strides == b.strides
        and a.dtype == b.dtype
        and a.__array_interface__["data"] == b.__array_interface__["data"]
    )


def overlaps(a: NDArray[Any]) -> bool:
    """Return whether elements of an array may overlap each other."""
    reach = a.itemsize
    for stride, n in sorted((abs(s), n) for s, n in zip(a.strides, a.shape, strict=True) if n > 1):
        if stride < reach:
            return True
        reach = stride * (n - 1) + reach
    return False


def _spread(x: Any, shape: tuple[int, ...]) -> Any:
    """Return an array broadcast to a shape, as a plain view; scalars as they are."""
    if not isinstance(x, np.ndarray):
        return x
    plain = x.view(np.ndarray)
    return np.broadcast_to(plain, shape) if plain.ndim and plain.shape != shape else plain
