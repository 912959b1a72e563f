"""NumPy's creation functions with their results in shared memory, brought together."""

from sharedarray.memory.conversion import array, asarray, attach, copy
from sharedarray.memory.fromiter import fromiter
from sharedarray.memory.like import empty_like, full_like, ones_like, zeros_like
from sharedarray.memory.shapes import arange, empty, full, ones, zeros

__all__ = [
    "arange",
    "array",
    "asarray",
    "attach",
    "copy",
    "empty",
    "empty_like",
    "fromiter",
    "full",
    "full_like",
    "ones",
    "ones_like",
    "zeros",
    "zeros_like",
]
