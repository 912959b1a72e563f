"""NumPy's elementwise functions on SharedArrays: ``np.exp(a)``, ``a + b``, ``a += 1``, ``a < b``.

All of them come here by `SharedArray.__array_ufunc__`. What has no parallel way is left to NumPy,
which the caller is told by NotImplemented: small arrays, ufuncs of other libraries, reductions,
operands of other classes, objects and strings, operands that overlap the output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy._core import umath  # no public name leads to the ufunc behind np.clip
from numpy.typing import NDArray

from sharedarray import config
from sharedarray.functions.pools import numpy_errors, pool_for
from sharedarray.functions.thresholds import MIN_CHEAP, MIN_CHEAP_GIVEN, MIN_DEAR, MIN_MIDDLE, pays
from sharedarray.memory.array import SharedArray, implements
from sharedarray.memory.cache import recycled
from sharedarray.memory.protocols import LEAST, Flags
from sharedarray_ops import ufuncs

__all__ = ["can_share", "overlaps"]

# Not fmin and fmax: which of two NaN they give, a signalling one among them, depends on where in
# NumPy's buffers it stands.
#
# Up to half a nanosecond an element: the memory is what takes the time.
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


# From how many elements of the result on a ufunc runs in parallel. Others are not NumPy's own:
# whether they may run in several threads, nobody says.
MIN_SIZE = _thresholds()
LEAST.update(MIN_SIZE)

_ARRAYS = frozenset((np.ndarray, SharedArray, np.memmap))
# bool, integers, floats, complex numbers, times: loops without the GIL.
_KINDS = frozenset("biufcmM")
# Arguments of the call that each tile gets as they are.
_OPTIONS = frozenset(("casting", "dtype", "signature"))
_HANDLED = _OPTIONS | {"out", "where", "order", "subok"}


@implements(np.ndarray.__array_ufunc__)
def _array_ufunc(
    flags: Flags, ufunc: np.ufunc, method: str, inputs: Sequence[Any], kwargs: dict[str, Any]
) -> Any:
    """Return what NumPy returns, or NotImplemented where that is left to it.

    Parameters
    ----------
    flags : Flags
        Gets what there is to be warned of.
    ufunc, method, inputs, kwargs
        As `__array_ufunc__` gets them.
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
    """Return whether the result may have so many elements."""
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
    """Return from how many elements on a call pays: narrow ones are quicker, also the dear ones."""
    width = max([x.itemsize for x in inputs if isinstance(x, np.ndarray) and x.ndim], default=8)
    return size if width >= 8 else max(size, MIN_MIDDLE) * 8 // width


class _Call:
    """One call of a ufunc, resolved: what goes in, what comes out, what passes by.

    Parameters
    ----------
    ufunc : ufunc
    inputs : sequence
        Plain arrays of the shape of the result, and scalars.
    outs : sequence
        As the caller gave them, None for those to allocate.
    mask : ndarray or None
        `where`, of the shape of the result.
    dtypes : sequence of dtype
        Those of the outputs.
    order : str
    options : dict
    shape : tuple of int
        That of the result.
    """

    def __init__(
        self,
        ufunc: np.ufunc,
        inputs: Sequence[Any],
        outs: Sequence[Any],
        mask: NDArray[Any] | None,
        dtypes: Sequence[np.dtype[Any]],
        order: str,
        options: dict[str, Any],
        shape: tuple[int, ...],
    ) -> None:
        self.ufunc, self.inputs, self.outs, self.mask = ufunc, inputs, outs, mask
        self.dtypes, self.order, self.options, self.shape = dtypes, order, options, shape
        self.size = int(np.prod(shape, dtype=np.intp))

    @classmethod
    def of(cls, ufunc: np.ufunc, inputs: Sequence[Any], kwargs: dict[str, Any]) -> _Call | None:
        """Return the call, or None where NumPy has to do it, with its errors or without."""
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
        if mask is not True and (not isinstance(mask, np.ndarray) or None in map(_none, outs)):
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
    def makes_large_results(self) -> bool:
        """Return whether all that is written to is new and as wide as float64."""
        return all(out is None for out in self.outs) and all(d.itemsize >= 8 for d in self.dtypes)

    def run(self, flags: Flags) -> Any:
        """Return what the ufunc returns; its outputs are set by all workers."""
        n_in, ufunc, options = self.ufunc.nin, self.ufunc, self.options
        scalars = [None if isinstance(x, np.ndarray) and x.ndim else x for x in self.inputs]
        arrays = [x for x, scalar in zip(self.inputs, scalars, strict=True) if scalar is None]
        given = [None if out is None else out.view(np.ndarray) for out in self.outs]
        masks = [] if self.mask is None else [self.mask]
        operands = [*arrays, *given, *masks]
        wanted = [None] * len(arrays) + [
            dtype if out is None else None for out, dtype in zip(given, self.dtypes, strict=True)
        ]
        if None in map(_none, given):
            operands = ufuncs.allocated(operands, [*wanted, *[None] * len(masks)], self.order)
        n_arrays, n_outs = len(arrays), len(given)
        for i in range(n_arrays, n_arrays + n_outs):
            if given[i - n_arrays] is None:
                operands[i] = recycled(operands[i])
        # The axes of a tile are in the order of the iteration.
        order = "K" if self.order == "K" else "C"

        def kernel(*parts: NDArray[Any]) -> None:
            rest = iter(parts)
            args = [next(rest) if scalar is None else scalar for scalar in scalars[:n_in]]
            outs = parts[n_arrays : n_arrays + n_outs]
            where = parts[n_arrays + n_outs] if masks else True
            ufunc(*args, out=outs, where=where, order=order, **options)

        with numpy_errors():
            flags += ufuncs.apply(kernel, operands, self.order, pool_for(None))
        new = operands[n_arrays : n_arrays + n_outs]
        results = [n if out is None else out for n, out in zip(new, self.outs, strict=True)]
        return results[0] if len(results) == 1 else tuple(results)


_ORDERS = ("K", "A", "C", "F")


def _none(value: Any) -> Any:
    """Return None for None and True for all else: arrays cannot be compared."""
    return None if value is None else True


def can_share(a: NDArray[Any]) -> bool:
    """Return whether elements are of a kind that is computed and copied without the GIL."""
    return a.dtype.kind in _KINDS


def _result_dtypes(
    ufunc: np.ufunc,
    inputs: Sequence[Any],
    outs: Sequence[Any],
    mask: Any,
    options: dict[str, Any],
) -> list[np.dtype[Any]] | None:
    """Return the dtypes of the outputs, by a call without elements, or None where it fails."""
    flags = Flags()
    try:
        with np.errstate(all="log", call=flags):
            results = ufunc(
                *map(_empty, inputs), out=tuple(map(_empty, outs)), where=_empty(mask), **options
            )
    except Exception:  # NumPy is going to raise it, for the call as it is
        return None
    if flags:  # a scalar that does not fit: each tile would say so
        return None
    dtypes = [result.dtype for result in (results if ufunc.nout > 1 else [results])]
    # From complex to real numbers NumPy warns, in words of its own.
    kinds = [x.dtype.kind for x in inputs if isinstance(x, np.ndarray)]
    if options.get("casting") == "unsafe" and "c" in kinds:
        return None
    return dtypes if all(dtype.kind in _KINDS for dtype in dtypes) else None


def _empty(x: Any) -> Any:
    """Return an array of no elements that stands for an array; scalars are what they are."""
    if not isinstance(x, np.ndarray) or not x.ndim:
        return x.view(np.ndarray) if isinstance(x, np.ndarray) else x
    return np.empty(0, x.dtype)


def _result_shape(inputs: Sequence[Any], outs: Sequence[Any], mask: Any) -> tuple[int, ...] | None:
    """Return the shape of the result; None where the shapes do not fit together."""
    arrays = [x for x in (*inputs, *outs, mask) if isinstance(x, np.ndarray)]
    try:
        shape = np.broadcast(*[x.view(np.ndarray) for x in arrays]).shape
    except ValueError:
        return None
    return shape if all(out is None or out.shape == shape for out in outs) else None


def _are_apart(inputs: Sequence[Any], outs: Sequence[Any], mask: Any) -> bool:
    """Return whether every tile may be written on its own.

    An input may be the output itself, element for element; where they overlap otherwise, NumPy
    makes a copy first.
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
    """Return whether an array may have two elements in one place."""
    reach = a.itemsize
    for stride, n in sorted((abs(s), n) for s, n in zip(a.strides, a.shape, strict=True) if n > 1):
        if stride < reach:
            return True
        reach = stride * (n - 1) + reach
    return False


def _spread(x: Any, shape: tuple[int, ...]) -> Any:
    """Return an array in the shape of the result, as a plain view; scalars are what they are."""
    if not isinstance(x, np.ndarray):
        return x
    plain = x.view(np.ndarray)
    return np.broadcast_to(plain, shape) if plain.ndim and plain.shape != shape else plain
