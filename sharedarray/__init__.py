"""Shared-memory arrays and parallel NumPy functions for one big multi-core machine.

Arrays that every worker sees (`SharedArray` and its builders), NumPy's own functions in parallel
with NumPy's own results (`sort`, `argsort`, `sum`, `fromfile`), and pools for one's own loops
(`MapReduce`).

>>> import sharedarray
>>> a = sharedarray.array([3.0, 1.0, 2.0])
>>> sharedarray.argsort(a)
SharedArray([1, 2, 0])
"""

from sharedarray.config import (
    cpu_count,
    get_debug,
    get_num_workers,
    num_workers,
    set_debug,
    set_num_workers,
    show_config,
    total_memory,
)
from sharedarray.errors import (
    ForkInThreadsWarning,
    LostExceptionType,
    SharedArrayUnpickleError,
    StopProcessGroup,
    WorkerDied,
    WorkerException,
)
from sharedarray.functions import (
    argpartition,
    argsort,
    bincount,
    digitize,
    fromfile,
    histogram,
    lexsort,
    median,
    partition,
    percentile,
    quantile,
    searchsorted,
    sort,
    sum,
    take,
    unique,
)
from sharedarray.memory.array import SharedArray
from sharedarray.memory.cache import release_cache
from sharedarray.memory.creation import (
    arange,
    array,
    asarray,
    attach,
    copy,
    empty,
    empty_like,
    full,
    full_like,
    ones,
    ones_like,
    zeros,
    zeros_like,
)
from sharedarray.memory.named import list_named, unlink
from sharedarray.parallel_switch import get_parallel, parallel, set_parallel
from sharedarray.workers.backend import ProcessBackend, SerialBackend, ThreadBackend
from sharedarray.workers.mapreduce import MapReduce, MapReduceByThread

__all__ = [
    "ForkInThreadsWarning",
    "LostExceptionType",
    "MapReduce",
    "MapReduceByThread",
    "ProcessBackend",
    "SerialBackend",
    "SharedArray",
    "SharedArrayUnpickleError",
    "StopProcessGroup",
    "ThreadBackend",
    "WorkerDied",
    "WorkerException",
    "arange",
    "argpartition",
    "argsort",
    "array",
    "asarray",
    "attach",
    "bincount",
    "copy",
    "cpu_count",
    "digitize",
    "empty",
    "empty_like",
    "fromfile",
    "full",
    "full_like",
    "get_debug",
    "get_num_workers",
    "get_parallel",
    "histogram",
    "lexsort",
    "list_named",
    "median",
    "num_workers",
    "ones",
    "ones_like",
    "parallel",
    "partition",
    "percentile",
    "quantile",
    "release_cache",
    "searchsorted",
    "set_debug",
    "set_num_workers",
    "set_parallel",
    "show_config",
    "sort",
    "sum",
    "take",
    "total_memory",
    "unique",
    "unlink",
    "zeros",
    "zeros_like",
]
