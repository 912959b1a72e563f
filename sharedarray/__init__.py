"""Shared-memory arrays and parallel NumPy functions for one big multi-core machine.

Arrays that every worker sees (`SharedArray` and its builders), NumPy's own functions in parallel
with NumPy's own results (`sort`, `argsort`, `sum`, `fromfile`), and pools for one's own loops
(`MapReduce`).

>>> import sharedarray
>>> a = sharedarray.array([3.0, 1.0, 2.0])
>>> sharedarray.argsort(a)
SharedArray([1, 2, 0])
"""

from typing import TYPE_CHECKING

from sharedarray.config import (
    cpu_count,
    get_debug,
    get_num_workers,
    num_workers,
    set_debug,
    set_num_workers,
    show_config,
)
from sharedarray.errors import (
    ForkInThreadsWarning,
    LostExceptionType,
    ParallelException,
    SharedArrayUnpickleError,
    StopProcessGroup,
    WorkerDied,
    WorkerException,
)
from sharedarray.files.fromfile import fromfile
from sharedarray.files.fromfiles import fromfiles
from sharedarray.files.load import load
from sharedarray.files.npy import save
from sharedarray.files.tofile import tofile
from sharedarray.functions import (
    all,
    any,
    argmax,
    argmin,
    argpartition,
    argsort,
    bincount,
    count_nonzero,
    cumprod,
    cumsum,
    digitize,
    histogram,
    lexsort,
    max,
    mean,
    median,
    min,
    nanmax,
    nanmean,
    nanmin,
    nansum,
    partition,
    percentile,
    prod,
    ptp,
    quantile,
    searchsorted,
    sort,
    std,
    sum,
    take,
    unique,
    var,
)
from sharedarray.functions.thresholds import numpy_only
from sharedarray.lazy import facade as _facade
from sharedarray.machine import total_memory
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
    fromiter,
    full,
    full_like,
    ones,
    ones_like,
    zeros,
    zeros_like,
)
from sharedarray.memory.named import list_named, unlink
from sharedarray.picklemode import pickling
from sharedarray.workers.backend import ProcessBackend, SerialBackend, ThreadBackend
from sharedarray.workers.mapreduce import MapReduce, MapReduceByThread

# A third of what the import would take, for what not every program uses.
if TYPE_CHECKING:
    from sharedarray.cluster.dask_maps import DaskBackend
    from sharedarray.cluster.executor import ExecutorBackend
    from sharedarray.functions.check import NumPyReport, check_numpy
    from sharedarray.openmp.parallel import Parallel, Private, Reduction, Shared
    from sharedarray.workers.background import background, background_by_thread
else:
    __getattr__, __dir__ = _facade(
        globals(),
        {
            "sharedarray.functions.check": ("NumPyReport", "check_numpy"),
            "sharedarray.workers.background": ("background", "background_by_thread"),
            "sharedarray.cluster.dask_maps": ("DaskBackend",),
            "sharedarray.cluster.executor": ("ExecutorBackend",),
            "sharedarray.openmp.parallel": ("Parallel", "Private", "Reduction", "Shared"),
        },
        for_workers=("sharedarray.workers.background", "sharedarray.openmp.parallel"),
        beside={"distributed.protocol": "sharedarray.cluster.dask_serialization:register"},
        after={
            "joblib.numpy_pickle": "sharedarray.memory.filepicklers:of_joblib",
            "pandas.io.pickle": "sharedarray.memory.filepicklers:of_pandas",
            "shelve": "sharedarray.memory.filepicklers:of_shelve",
        },
    )

__all__ = [
    "DaskBackend",
    "ExecutorBackend",
    "ForkInThreadsWarning",
    "LostExceptionType",
    "MapReduce",
    "MapReduceByThread",
    "NumPyReport",
    "Parallel",
    "ParallelException",
    "Private",
    "ProcessBackend",
    "Reduction",
    "SerialBackend",
    "Shared",
    "SharedArray",
    "SharedArrayUnpickleError",
    "StopProcessGroup",
    "ThreadBackend",
    "WorkerDied",
    "WorkerException",
    "all",
    "any",
    "arange",
    "argmax",
    "argmin",
    "argpartition",
    "argsort",
    "array",
    "asarray",
    "attach",
    "background",
    "background_by_thread",
    "bincount",
    "check_numpy",
    "copy",
    "count_nonzero",
    "cpu_count",
    "cumprod",
    "cumsum",
    "digitize",
    "empty",
    "empty_like",
    "fromfile",
    "fromfiles",
    "fromiter",
    "full",
    "full_like",
    "get_debug",
    "get_num_workers",
    "histogram",
    "lexsort",
    "list_named",
    "load",
    "max",
    "mean",
    "median",
    "min",
    "nanmax",
    "nanmean",
    "nanmin",
    "nansum",
    "num_workers",
    "numpy_only",
    "ones",
    "ones_like",
    "partition",
    "percentile",
    "pickling",
    "prod",
    "ptp",
    "quantile",
    "release_cache",
    "save",
    "searchsorted",
    "set_debug",
    "set_num_workers",
    "show_config",
    "sort",
    "std",
    "sum",
    "take",
    "tofile",
    "total_memory",
    "unique",
    "unlink",
    "var",
    "zeros",
    "zeros_like",
]
