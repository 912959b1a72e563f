"""The figures to reach, each with the benchmark that measures it: one row a figure.

``python -m sharedarray bench`` reads this file, without asv and without the benchmarks beside it:
it imports nothing of them.
"""

from __future__ import annotations

M = 1_000_000
GIB = 1 << 27  # so many float64 are 1 GiB

COLUMNS = ("name", "limit", "aim", "unit", "benchmark", "params", "quick")
# name       shows parameters: {size}
# limit      what has to be reached: the least for ratios (x) and rates, the most for all else
# aim        what is hoped for
# benchmark  what asv calls it
# params     all parameters of the benchmark
# quick      those that are others for a quick look

# fmt: off
_FIGURES = [
    ("argsort float64, {size}", 7, 12, "x", "sorting.TrackArgsort.track_ratio",
     {"size": 20 * M, "dtype": "f8", "distribution": "random", "workers": "all"}, {"size": 2 * M}),
    ("argsort int64, {size}", 7, 12, "x", "sorting.TrackArgsort.track_ratio",
     {"size": 20 * M, "dtype": "i8", "distribution": "random", "workers": "all"}, {"size": 2 * M}),
    ("argsort {size}, x86-simd-sort (estimate)", 1.1, 1.6, "x",
     "sorting.TrackKeyValueSort.track_estimate",
     {"size": 20 * M, "dtype": "f8", "workers": "all"}, {"size": 2 * M}),
    ("argsort float64, {size}", 10, 15, "x", "sorting.TrackLargeArgsort.track_ratio",
     {"size": 100 * M, "dtype": "f8", "workers": "all"}, {"size": 10 * M}),
    ("argsort S16, {size}", 5, 8, "x", "sorting.TrackWide.track_argsort",
     {"size": 5 * M, "dtype": "S16"}, {"size": M}),
    ("argsort U16, {size}", 5, 8, "x", "sorting.TrackWide.track_argsort",
     {"size": 5 * M, "dtype": "U16"}, {"size": M}),
    ("argsort complex128, {size}", 5, 8, "x", "sorting.TrackWide.track_argsort",
     {"size": 5 * M, "dtype": "c16"}, {"size": M}),
    ("argsort i4,f8 records, {size}", 20, 40, "x", "sorting.TrackWide.track_argsort",
     {"size": 5 * M, "dtype": "i4,f8"}, {"size": M}),
    ("sort float64 in place, {size}", 1.4, 1.9, "x", "sorting.TrackSort.track_ratio",
     {"size": 20 * M, "dtype": "f8", "distribution": "random", "workers": "all"}, {"size": 2 * M}),
    ("sort i4,f8 records, {size}", 15, None, "x", "sorting.TrackWide.track_sort",
     {"size": 5 * M, "dtype": "i4,f8"}, {"size": M}),
    ("sort S16, {size}", 4, None, "x", "sorting.TrackWide.track_sort",
     {"size": 5 * M, "dtype": "S16"}, {"size": M}),
    ("sort complex128, {size}", 3, None, "x", "sorting.TrackWide.track_sort",
     {"size": 5 * M, "dtype": "c16"}, {"size": M}),
    ("sum float64, {size}", 1.5, None, "x", "reduction.TrackSum.track_ratio",
     {"size": GIB, "dtype": "f8", "distribution": "random", "workers": "all"}, {"size": 4 * M}),
    ("fromfile into recycled memory, {size}", 2.5, 3.8, "x", "fileio.TrackFromfile.track_ratio",
     {"size": GIB, "dtype": "f8", "distribution": "random", "memory": "recycled", "workers": "all"},
     {"size": 20 * M}),
    ("fromfile into fresh memory, {size}", 1.1, 1.5, "x", "fileio.TrackFromfile.track_ratio",
     {"size": GIB, "dtype": "f8", "distribution": "random", "memory": "fresh", "workers": "all"},
     {"size": 20 * M}),
    ("fromfiles, {files[0]:,} files", 1.5, None, "x", "fileio.TrackFromfiles.track_ratio",
     {"files": (1000, 1 << 17), "memory": "recycled", "workers": "all"},
     {"files": (100, 1 << 17)}),
    ("fromfiles, {files[0]:,} files: extra memory", 5, None, "%",
     "fileio.TrackFromfiles.track_extra_memory",
     {"files": (1000, 1 << 17), "memory": "fresh", "workers": "all"}, {"files": (100, 1 << 17)}),
    ("tofile, new file, {size}", 1.2, None, "x", "writing.TrackTofile.track_ratio",
     {"size": GIB, "layout": "C", "path": "new", "workers": "all"}, {"size": 20 * M}),
    ("tofile, existing file, {size}", 1.2, None, "x", "writing.TrackTofile.track_ratio",
     {"size": GIB, "layout": "C", "path": "existing", "workers": "all"}, {"size": 20 * M}),
    ("fromiter, {size}", 0.95, None, "x", "writing.TrackFromiter.track_ratio",
     {"size": 20 * M, "iterable": "generator", "count": "counted"}, {"size": 2 * M}),
    ("copy in recycled memory, {size}", 1.5, None, "x", "memory.TrackFill.track_against_numpy",
     {"operation": "copy", "memory": "recycled", "size": GIB}, {"size": 1 << 24}),
    ("full in recycled memory, {size}", 1.5, None, "x", "memory.TrackFill.track_against_numpy",
     {"operation": "full", "memory": "recycled", "size": GIB}, {"size": 1 << 24}),
    ("np.exp float64, {size}", 1.7, None, "x", "elementwise.TrackElementwise.track_ratio",
     {"size": 50 * M, "dtype": "f8", "operation": "exp", "workers": "all"}, {"size": 20 * M}),
    ("map on 2 processes, 2 items", 4, 2, "ms", "mapreduce.TrackMap.track_trivial_items",
     {"items": 2, "implementation": "sharedarray"}, {}),
    ("map on 2 processes, 10,000 items", 20, 10, "ms", "mapreduce.TrackMap.track_trivial_items",
     {"items": 10_000, "implementation": "sharedarray"}, {}),
    ("worker killed to exception", 50, 5, "ms", "mapreduce.TrackDeath.track_from_kill_to_exception",
     {}, {}),
    ("Parallel block on 2 processes", 3, None, "ms", "parallel.TrackBlock.track_empty_block",
     {"implementation": "sharedarray"}, {}),
    ("dynamic loop of Parallel", 50_000, 200_000, "items/s", "parallel.TrackLoop.track_items",
     {"schedule": "dynamic", "implementation": "sharedarray"}, {}),
    ("barrier of 2 processes", 50, None, "us", "parallel.TrackMeeting.track_barrier",
     {"backend": "process"}, {}),
    ("argsort of 1,000, beyond NumPy's", 10, 3, "us", "overhead.TrackSmallCall.track_over_numpy",
     {"operation": "argsort"}, {}),
    ("sort of 1,000, beyond NumPy's", 10, 3, "us", "overhead.TrackSmallCall.track_over_numpy",
     {"operation": "sort"}, {}),
    ("sort in place of 1,000, beyond NumPy's", 10, 3, "us",
     "overhead.TrackSmallCall.track_over_numpy",
     {"operation": "sort in place"}, {}),
    ("sum of 1,000, beyond NumPy's", 10, 3, "us", "overhead.TrackSmallCall.track_over_numpy",
     {"operation": "sum"}, {}),
    ("fromfile of 1,000, beyond NumPy's", 10, 3, "us", "overhead.TrackSmallCall.track_over_numpy",
     {"operation": "fromfile"}, {}),
    ("import, beyond NumPy's", 30, 15, "ms", "overhead.TrackImport.track_beyond_numpy",
     {}, {}),
    ("argsort, {size}: extra memory", 10, 2, "%", "memory.TrackPeak.track_extra_memory",
     {"size": 20 * M, "operation": "argsort", "implementation": "sharedarray"}, {}),
    ("sort in place, {size}: extra memory", 10, 2, "%", "memory.TrackPeak.track_extra_memory",
     {"size": 20 * M, "operation": "sort in place", "implementation": "sharedarray"}, {}),
    ("argsort, {size}: time with the GIL", 5, 2, "%", "sorting.TrackGil.track_share",
     {"size": 100 * M, "operation": "argsort"}, {"size": 20 * M}),
    ("sort, {size}: time with the GIL", 5, 2, "%", "sorting.TrackGil.track_share",
     {"size": 100 * M, "operation": "sort"}, {"size": 20 * M}),
    ("sum, {size}: time with the GIL", 5, 2, "%", "sorting.TrackGil.track_share",
     {"size": 100 * M, "operation": "sum"}, {"size": 20 * M}),
    ("fromfile, {size}: time with the GIL", 5, 2, "%", "sorting.TrackGil.track_share",
     {"size": 100 * M, "operation": "fromfile"}, {"size": 20 * M}),
]
_SCALING = [  # without their workers, which depend on the machine
    ("argsort float64, {size}", None, None, "x", "scaling.TrackScaling.track_ratio",
     {"size": 50 * M, "operation": "argsort"}, {"size": 4 * M}),
    ("sort float64, {size}", None, None, "x", "scaling.TrackScaling.track_ratio",
     {"size": 50 * M, "operation": "sort"}, {"size": 4 * M}),
    ("sum float64, {size}", None, None, "x", "scaling.TrackScaling.track_ratio",
     {"size": 50 * M, "operation": "sum"}, {"size": 4 * M}),
]
# fmt: on

FIGURES = [dict(zip(COLUMNS, row, strict=True)) for row in _FIGURES]
SCALING = [dict(zip(COLUMNS, row, strict=True)) for row in _SCALING]
