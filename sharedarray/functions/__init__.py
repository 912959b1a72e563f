"""NumPy's functions in parallel: validate, allocate, choose the pool, call `sharedarray_ops`.

Each function has NumPy's signature and NumPy's result. Small arrays, and what has no parallel way,
are left to NumPy; functions that promise a SharedArray copy its result. `SharedArray` methods and
``np.<function>(shared)`` come here by `memory.array.DISPATCH`: `ufuncs` and `assigning` only so.
`memory.pages` reaches `assigning.fill` by its name.
"""

from sharedarray.functions import assigning as assigning
from sharedarray.functions import ufuncs as ufuncs
from sharedarray.functions.averages import mean, nanmean, std, var
from sharedarray.functions.binning import bincount, histogram
from sharedarray.functions.cumulative import cumprod, cumsum
from sharedarray.functions.extremes import argmax, argmin, max, min, nanmax, nanmin, ptp
from sharedarray.functions.partitioning import argpartition, partition
from sharedarray.functions.quantiles import median, percentile, quantile
from sharedarray.functions.searching import digitize, searchsorted
from sharedarray.functions.sorting import argsort, lexsort, sort
from sharedarray.functions.sums import nansum, prod, sum
from sharedarray.functions.taking import take
from sharedarray.functions.truth import all, any, count_nonzero
from sharedarray.functions.uniqueness import unique

__all__ = [
    "all",
    "any",
    "argmax",
    "argmin",
    "argpartition",
    "argsort",
    "bincount",
    "count_nonzero",
    "cumprod",
    "cumsum",
    "digitize",
    "histogram",
    "lexsort",
    "max",
    "mean",
    "median",
    "min",
    "nanmax",
    "nanmean",
    "nanmin",
    "nansum",
    "partition",
    "percentile",
    "prod",
    "ptp",
    "quantile",
    "searchsorted",
    "sort",
    "std",
    "sum",
    "take",
    "unique",
    "var",
]
