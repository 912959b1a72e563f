"""`SharedArray`: an ndarray whose memory every forked process sees.

The class follows NumPy's subclass protocol so that it is an honest type: an object is a
`SharedArray` only if its memory is in a live segment. Where NumPy would keep the subclass on
private memory (``a.copy()``, ``a[[1, 2]]``, ``np.partition(a, 3)`` ...), the result becomes a plain
ndarray: judged by its address, never by its class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from sharedarray import picklemode
from sharedarray.errors import SharedArrayUnpickleError
from sharedarray.forks import is_child, process_token
from sharedarray.memory import named, pages, references
from sharedarray.memory.allocator import allocate
from sharedarray.memory.cache import release_cache
from sharedarray.memory.protocols import (
    QUIET,
    Flags,
    as_given,
    begin_logging,
    end_logging,
    may_be_large,
    plain_keywords,
    report,
    set_items,
)
from sharedarray.memory.registry import find_id, is_shared
from sharedarray.memory.segment import has_descriptor_to_spare

__all__ = [
    "DISPATCH",
    "UNSET",
    "ZEROED",
    "SharedArray",
    "demoted",
    "from_data",
    "implements",
    "layout",
    "load",
    "load_or_copy",
    "new_array",
    "refuse_objects",
    "with_data",
]

# What runs in place of NumPy's functions and ndarray's methods when they are given a SharedArray.
DISPATCH: dict[Callable[..., Any], Callable[..., Any]] = {}

_F = TypeVar("_F", bound=Callable[..., Any])

_ndarray_function = np.ndarray.__array_function__
_ndarray_ufunc = np.ndarray.__array_ufunc__
_ndarray_getitem = np.ndarray.__getitem__
_ndarray_setitem = np.ndarray.__setitem__
_IMAG: Any = np.ndarray.imag

_FLOAT64 = np.dtype(np.float64)
# Types of the last index where an element or a small part is set; elements of an array from which
# on an assignment may be worth the workers.
_PLACES = frozenset((int, np.int64))
_ASSIGNABLE = 1 << 18
# So few elements are not worth the workers, broadcast or not.
_SMALL = 255

# For `new_array`, in place of a value: elements are not set, or zero in pages that are not touched.
UNSET: Any = object()
ZEROED: Any = object()


def implements(*functions: Callable[..., Any]) -> Callable[[_F], _F]:
    """Register the decorated function for `DISPATCH`.

    Parameters
    ----------
    *functions : callable
        NumPy functions such as ``np.sort``, or methods such as ``np.ndarray.sort``. The decorated
        function gets the arguments of the call as they are, for a method the array first, and may
        pass any call on to NumPy with ``array.view(np.ndarray)``.
    """

    def register(function: _F) -> _F:
        DISPATCH.update(dict.fromkeys(functions, function))
        return function

    return register


class SharedArray(np.ndarray):
    """Allocate an array in memory that all forked processes see.

    It is an ndarray in every respect. A process forked after it was made has it at the same
    address; what one process writes the others read. It pickles as a reference to the memory, for
    processes of the same tree of forks. Slices and other views are SharedArrays too; results
    in memory of their own (``a + 1``, ``a.copy()``, ``a[a > 0]``) are plain ndarrays, which pickle
    with their data.

    Parameters
    ----------
    shape : int or tuple of int
        The shape.
    dtype : data-type, default float
        Any dtype without Python objects.
    order : {'C', 'F'}, default 'C'
        Row-major or column-major.

    Raises
    ------
    TypeError
        If the dtype has Python objects or is a StringDType: both hold pointers into the private
        memory of one process.
    MemoryError
        If there is not enough memory.

    See Also
    --------
    sharedarray.empty, sharedarray.zeros, sharedarray.array

    Notes
    -----
    The elements are not set. The memory is free again when the last array on it is gone, in the
    last process that has it. An array of another class on it (``np.asarray(a)``,
    ``a.view(np.ndarray)``) pickles with its data.

    ``np.array(a, dtype, subok=True)``, ``np.asanyarray(a, dtype)`` and ``np.require(a, dtype)`` do
    not call the class: if they convert or copy, the result is private in spite of its class, and
    pickles with its data.

    Examples
    --------
    >>> import sharedarray
    >>> a = sharedarray.SharedArray((2, 3), dtype="i4")
    >>> a[:] = 7
    >>> type(a[0]), type(a + 1)
    (<class 'sharedarray.SharedArray'>, <class 'numpy.ndarray'>)
    """

    # No dict and no header of the garbage collector: a view costs 0.1 us less.
    __slots__ = ()

    # As for np.memmap: with a plain ndarray beside it, the result is a plain ndarray.
    __array_priority__ = -100.0
    # np.ma gives this class to a masked array's data, which is mostly private memory.
    _baseclass = np.ndarray

    def __new__(cls, shape: Any, dtype: DTypeLike | None = float, order: Any = "C") -> SharedArray:
        """Allocate the memory, as the class says."""
        refuse_objects(dtype)
        return new_array(layout(np.empty, shape, dtype, order), cls=cls)

    def __array_finalize__(self, obj: Any) -> None:
        if obj is None or isinstance(obj, SharedArray) or is_shared(self):
            return
        raise TypeError(
            "private memory cannot be viewed as a SharedArray: "
            "use sharedarray.array(a) for a shared copy"
        )

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        if array is self:  # it was passed as `out`
            return array
        array = demoted(array)
        if return_scalar:
            return array[()]
        return array.view(type(self)) if type(array) is np.ndarray and is_shared(array) else array

    def __array_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Iterable[Any],
        kwargs: Any,
    ) -> Any:
        if _PLAIN.issuperset(types) or all(map(_behaves_as_ndarray, types)):
            ours = DISPATCH.get(func)
            if ours is not None:
                return ours(*args, **kwargs)
        elif any(map(_has_own_protocol, types)):
            return NotImplemented  # ndarray's own would not call that of Quantity and the like
        if not hasattr(func, "_implementation"):
            return func(*args, **kwargs)  # with like=: NumPy 2.0 has no other way
        return demoted(_ndarray_function(self, func, types, args, kwargs))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        flags = Flags()
        args, largest, is_quiet = [], 0, ufunc in QUIET
        for x in inputs:
            if isinstance(x, np.ndarray):
                largest = max(largest, x.size)
                if isinstance(x, SharedArray):
                    x = x.view(np.ndarray)
            elif type(x) is float:
                is_quiet = False  # it may overflow in the dtype of the array
            args.append(x)
        ours = DISPATCH.get(_ndarray_ufunc) if largest > _SMALL else None
        if ours is not None and may_be_large(ufunc, method, args, largest):
            result = ours(flags, ufunc, method, args, kwargs)
            if result is not NotImplemented:
                report(flags, 2)
                return result
        given = kwargs and plain_keywords(kwargs, method, SharedArray)
        # NumPy calls the __array_ufunc__ of other classes itself, with plain arrays. NotImplemented
        # would not do: ndarray's own method, which theirs call, refuses ours.
        if is_quiet or ufunc.__name__[-1] == ")":  # from np.frompyfunc: Python's own
            result = getattr(ufunc, method)(*args, **kwargs)
        else:
            settings = begin_logging(flags)
            try:
                result = getattr(ufunc, method)(*args, **kwargs)
            finally:
                end_logging(settings)
            if flags:  # saves a call
                report(flags, 2)
        return as_given(result, given, kwargs["out"]) if given else result

    def __getitem__(self, index: Any) -> Any:
        if type(index) in _PLAIN:
            ours = DISPATCH.get(_ndarray_getitem)
            if ours is not None:
                result = ours(self, index)
                if result is not NotImplemented:
                    return result
        result = _ndarray_getitem(self, index)
        # Quick for a slice: the base of a view is this array or this array's base.
        if isinstance(result, SharedArray):
            base = result.base
            if base is not self and (base is None or base is not self.base):
                return demoted(result)
        return result

    def __setitem__(self, index: Any, value: Any) -> None:
        kind = type(index)
        if kind is tuple and index:
            kind = type(index[-1])
        if type(value) is float:
            is_quiet = self.dtype is _FLOAT64
        elif type(value) is int:
            is_quiet = -65504 <= value <= 65504  # fits float16
        else:
            is_quiet = getattr(value, "dtype", None) is self.dtype
        is_large = kind not in _PLACES and self.size >= _ASSIGNABLE
        if is_quiet and not is_large:
            _ndarray_setitem(self, index, value)
        else:
            ours = DISPATCH.get(_ndarray_setitem) if is_large else None
            report(set_items(self, index, value, ours, is_quiet=is_quiet), 2)

    def fill(self, value: Any) -> None:
        """As `numpy.ndarray.fill`."""
        is_scalar = isinstance(value, (int, float, np.generic))
        ours = DISPATCH.get(_ndarray_setitem) if is_scalar and self.size >= _ASSIGNABLE else None
        report(set_items(self, ..., value, ours, original=np.ndarray.fill), 2)

    @property
    def flat(self) -> Any:
        """The elements in a row, as a plain ndarray's; indexing it may give private memory."""
        return self.view(np.ndarray).flat

    @flat.setter
    def flat(self, values: Any) -> None:
        self.view(np.ndarray).flat = values  # type: ignore[misc]  # the stub has no setter

    @property
    def imag(self) -> Any:
        """The imaginary part: a view, of real numbers private zeros."""
        return demoted(_IMAG.__get__(self))

    @imag.setter
    def imag(self, values: Any) -> None:
        _IMAG.__set__(self, values)

    def __reduce__(self) -> Any:
        return self.__reduce_ex__(2)

    def __reduce_ex__(self, protocol: Any) -> Any:
        reference = references.reference_to(self)
        if reference is None:
            return self.view(np.ndarray).copy().__reduce_ex__(protocol)
        if picklemode.is_by_value():
            return with_data(self)
        # A worker may end before its result is loaded; a name outlives it.
        is_own = reference[1][0] == process_token()
        is_lasting = type(reference[-1]) is str or picklemode.is_by_reference()
        if is_own and is_child() and not is_lasting:
            return load_or_copy, (reference, self.view(np.ndarray))
        return load, reference


_PLAIN = frozenset((np.ndarray, SharedArray))


def layout(make: Callable[..., Any], *args: Any) -> Any:
    """Return a private array, no page of it touched, that has the layout of a new shared one.

    NumPy's own errors come from here. Where memory is scarce, the cache is emptied.
    """
    try:
        return make(*args)
    except MemoryError:
        release_cache()
        return make(*args)


def refuse_objects(dtype: DTypeLike | None) -> None:
    """Raise TypeError for Python objects and StringDType: pointers into private memory."""
    # Not np.dtype(dtype): np.empty also takes classes such as np.dtypes.Float64DType.
    if dtype is not None and (resolved := np.empty(0, dtype).dtype).hasobject:
        raise TypeError(
            f"dtype {resolved} cannot be in shared memory: its elements are pointers into the "
            "private memory of one process. Use a dtype of fixed size, such as numbers, 'S16', "
            "'U16' or a structured dtype of these"
        )


def new_array(
    like: np.ndarray,
    value: Any = UNSET,
    name: str | None = None,
    reserve: bool = False,
    cls: type[SharedArray] = SharedArray,
) -> SharedArray:
    """Return a new array with the shape, dtype and strides of a dense one, set to a value.

    Parameters
    ----------
    like : ndarray
        From `layout`, by which NumPy has judged all arguments; its elements are not read.
    value : array_like, optional
        Broadcast and cast as `numpy.full` does it; or `UNSET` or `ZEROED`.
    name, reserve
        As in `sharedarray.empty`; a named array that is not contiguous becomes row-major.
    cls : type, default SharedArray
        The class of the result.

    Raises
    ------
    TypeError
        If the dtype has Python objects.
    MemoryError, OSError, ValueError
        If there is not enough memory; if the name is taken or invalid.
    """
    shape, dtype, strides, nbytes = like.shape, like.dtype, like.strides, like.nbytes
    if dtype.hasobject:
        refuse_objects(dtype)
    if name is not None:
        is_fortran = like.flags.f_contiguous and not like.flags.c_contiguous
        block = named.create(name, shape, dtype, is_fortran=is_fortran)
        array = np.ndarray.__new__(cls, shape, dtype, block, 0, order="F" if is_fortran else "C")
    else:
        del like  # its addresses may be needed
        try:
            block = allocate(nbytes, zeroed=value is ZEROED)
            if reserve:
                block.segment.reserve(block)
        except MemoryError as error:
            raise MemoryError(
                f"Unable to allocate {nbytes} bytes ({nbytes / 2**30:.3g} GiB) of shared memory "
                f"for an array with shape {shape} and data type {dtype}: {error}"
            ) from error
        array = np.ndarray.__new__(cls, shape, dtype, block, 0, strides)
    if value is not UNSET and value is not ZEROED:
        try:
            pages.fill(array.view(np.ndarray), value)
        except BaseException:
            if name is not None:  # a half-made array has none
                named.unlink(name)
            raise
    return array


def demoted(result: Any) -> Any:
    """Return a result as it is, SharedArrays on private memory in it as plain ndarrays."""
    if isinstance(result, SharedArray):
        return result if is_shared(result) else result.view(np.ndarray)
    if isinstance(result, (tuple, list)):
        items = [demoted(item) for item in result]
        if all(new is old for new, old in zip(items, result, strict=True)):
            return result
        if isinstance(result, tuple) and hasattr(result, "_make"):  # a namedtuple
            return result._make(items)
        return type(result)(items)
    return result


def load(*reference: Any) -> SharedArray:
    """Return the array that a pickle of `SharedArray` refers to.

    Raises
    ------
    SharedArrayUnpickleError
        If this process cannot reach the memory, or the reference is malformed.
    """
    return references.resolve(SharedArray, reference)


def load_or_copy(reference: tuple[Any, ...], data: np.ndarray) -> SharedArray:
    """Return the array that a pickle refers to, or where it cannot be reached a copy of its data.

    Raises
    ------
    SharedArrayUnpickleError
        If the reference is malformed.
    """
    try:
        array = references.resolve(SharedArray, reference)
    except SharedArrayUnpickleError as error:
        if not isinstance(error.__cause__, references.Unreachable):
            raise
        return from_data(data, reference[-2])
    # An attached segment takes a descriptor for each array, of which there are few.
    segment = find_id(reference[1])
    is_attached = segment is not None and segment.id[0] != segment.mapped_by == process_token()
    return (
        from_data(data, reference[-2]) if is_attached and not has_descriptor_to_spare() else array
    )


def with_data(a: SharedArray) -> tuple[Any, ...]:
    """Return what ``__reduce__`` does for a pickle that holds the data."""
    # As a plain array, which pickles without a copy, and out of band where the pickler asks for it.
    return from_data, (a.view(np.ndarray), a.flags.writeable)


def from_data(data: np.ndarray, writeable: bool) -> SharedArray:
    """Return a new shared array with the data of a pickle."""
    array = new_array(layout(np.empty_like, data), data)
    array.flags.writeable = writeable
    return array


def _behaves_as_ndarray(cls: type) -> bool:
    # np.matrix and np.ma.MaskedArray have ndarray's __array_function__ and another behaviour.
    return cls is np.ndarray or issubclass(cls, (SharedArray, np.memmap))


def _has_own_protocol(cls: Any) -> bool:
    # NumPy has found the attribute on each of these classes.
    return cls.__array_function__ is not _ndarray_function and not issubclass(cls, SharedArray)


def _honest(name: str, *, on_plain: bool) -> Callable[..., Any]:
    """Return the method of ndarray made honest, or what `DISPATCH` has for it."""
    original = getattr(np.ndarray, name)

    def method(self: SharedArray, /, *args: Any, **kwargs: Any) -> Any:
        ours = DISPATCH.get(original)
        if ours is not None:
            return ours(self, *args, **kwargs)
        return demoted(original(self.view(np.ndarray) if on_plain else self, *args, **kwargs))

    method.__name__, method.__qualname__ = name, f"{SharedArray.__qualname__}.{name}"
    # Not NumPy's own text, whose examples would be tested as ours.
    method.__doc__ = f"As `numpy.ndarray.{name}`; a result in memory of its own is a plain ndarray."
    return method


# The methods of ndarray that keep the class on private memory; all others return views, plain
# arrays, scalars, Python objects or nothing. These return new memory or `out`; run on a plain view,
# they make an array that owns its memory.
_NEW_MEMORY = (
    "__copy__", "__deepcopy__", "all", "any", "argmax", "argmin", "argpartition", "argsort",
    "choose", "compress", "copy", "cumprod", "cumsum", "dot", "flatten", "max", "mean",
    "min", "prod", "repeat", "std", "sum", "take", "trace", "var",
)  # fmt: skip
# These may also return the array itself or a view of it.
_PERHAPS_VIEW = ("astype", "byteswap", "clip", "conj", "conjugate", "ravel", "reshape", "round")
# Honest already: three because of `DISPATCH`, the others to write data, no reference, to a file.
_AS_PLAIN = ("dump", "dumps", "partition", "searchsorted", "sort", "tofile")

for _name in (*_NEW_MEMORY, *_AS_PLAIN):
    setattr(SharedArray, _name, _honest(_name, on_plain=True))
for _name in _PERHAPS_VIEW:
    setattr(SharedArray, _name, _honest(_name, on_plain=False))
