"""The figures to reach, each with the benchmark that measures it.

``python -m sharedarray bench`` reads this file, without asv and without the benchmarks beside it:
it imports nothing of them. `FIGURES` and `SCALING` are lists of what `figure` returns.
"""

from __future__ import annotations

from typing import Any

M = 1_000_000
GIB = 1 << 27  # so many float64 are 1 GiB


def figure(
    name: str,
    benchmark: str,
    limit: float | None = None,
    aim: float | None = None,
    unit: str = "x",
    quick: dict[str, Any] | None = None,
    **params: Any,
) -> dict[str, Any]:
    """Return one figure.

    `name` may show parameters: ``{size}``. `benchmark` is what asv calls it. `limit` is what has to
    be reached: the least for ratios and rates, the most for all else. `params` are all parameters
    of the benchmark, `quick` those that are others for a quick look.
    """
    return {
        "name": name,
        "benchmark": benchmark,
        "unit": unit,
        "limit": limit,
        "aim": aim,
        "params": params,
        "quick": quick or {},
    }


def argsort(name: str, dtype: str) -> dict[str, Any]:
    return figure(
        f"argsort {name}, {{size}}",
        "sorting.TrackArgsort.track_ratio",
        7,
        12,
        size=20 * M,
        dtype=dtype,
        distribution="random",
        workers="all",
        quick={"size": 2 * M},
    )


def wide(
    name: str, dtype: str, method: str, limit: float, aim: float | None = None
) -> dict[str, Any]:
    return figure(
        f"{method} {name}, {{size}}",
        f"sorting.TrackWide.track_{method}",
        limit,
        aim,
        size=5 * M,
        dtype=dtype,
        quick={"size": M},
    )


def fromfile(memory: str, limit: float, aim: float) -> dict[str, Any]:
    return figure(
        f"fromfile into {memory} memory, {{size}}",
        "fileio.TrackFromfile.track_ratio",
        limit,
        aim,
        size=GIB,
        dtype="f8",
        distribution="random",
        memory=memory,
        workers="all",
        quick={"size": 20 * M},
    )


def tofile(path: str) -> dict[str, Any]:
    return figure(
        f"tofile, {path} file, {{size}}",
        "writing.TrackTofile.track_ratio",
        1.2,
        size=GIB,
        layout="C",
        path=path,
        workers="all",
        quick={"size": 20 * M},
    )


def fill(operation: str) -> dict[str, Any]:
    return figure(
        f"{operation} in recycled memory, {{size}}",
        "memory.TrackFill.track_against_numpy",
        1.5,
        operation=operation,
        memory="recycled",
        size=GIB,
        quick={"size": 1 << 24},
    )


def map_of(n_items: int, limit: float, aim: float) -> dict[str, Any]:
    return figure(
        f"map on 2 processes, {n_items:,} items",
        "mapreduce.TrackMap.track_trivial_items",
        limit,
        aim,
        "ms",
        items=n_items,
        implementation="sharedarray",
    )


def small(operation: str) -> dict[str, Any]:
    return figure(
        f"{operation} of 1,000, beyond NumPy's",
        "overhead.TrackSmallCall.track_over_numpy",
        10,
        3,
        "us",
        operation=operation,
    )


def extra_memory(operation: str) -> dict[str, Any]:
    return figure(
        f"{operation}, {{size}}: extra memory",
        "memory.TrackPeak.track_extra_memory",
        10,
        2,
        "%",
        size=20 * M,
        operation=operation,
        implementation="sharedarray",
    )


def gil(operation: str) -> dict[str, Any]:
    return figure(
        f"{operation}, {{size}}: time with the GIL",
        "sorting.TrackGil.track_share",
        5,
        2,
        "%",
        size=100 * M,
        operation=operation,
        quick={"size": 20 * M},
    )


def scaling(operation: str) -> dict[str, Any]:
    """Return a figure without its workers, which depend on the machine."""
    return figure(
        f"{operation} float64, {{size}}",
        "scaling.TrackScaling.track_ratio",
        size=50 * M,
        operation=operation,
        quick={"size": 4 * M},
    )


FIGURES = [
    argsort("float64", "f8"),
    argsort("int64", "i8"),
    figure(
        "argsort {size}, x86-simd-sort (estimate)",
        "sorting.TrackKeyValueSort.track_estimate",
        1.1,
        1.6,
        size=20 * M,
        dtype="f8",
        workers="all",
        quick={"size": 2 * M},
    ),
    figure(
        "argsort float64, {size}",
        "sorting.TrackLargeArgsort.track_ratio",
        10,
        15,
        size=100 * M,
        dtype="f8",
        workers="all",
        quick={"size": 10 * M},
    ),
    wide("S16", "S16", "argsort", 5, 8),
    wide("U16", "U16", "argsort", 5, 8),
    wide("complex128", "c16", "argsort", 5, 8),
    wide("i4,f8 records", "i4,f8", "argsort", 20, 40),
    figure(
        "sort float64 in place, {size}",
        "sorting.TrackSort.track_ratio",
        1.4,
        1.9,
        size=20 * M,
        dtype="f8",
        distribution="random",
        workers="all",
        quick={"size": 2 * M},
    ),
    wide("i4,f8 records", "i4,f8", "sort", 15),
    wide("S16", "S16", "sort", 4),
    wide("complex128", "c16", "sort", 3),
    figure(
        "sum float64, {size}",
        "reduction.TrackSum.track_ratio",
        1.5,
        size=GIB,
        dtype="f8",
        distribution="random",
        workers="all",
        quick={"size": 4 * M},
    ),
    fromfile("recycled", 2.5, 3.8),
    fromfile("fresh", 1.1, 1.5),
    figure(
        "fromfiles, {files[0]:,} files",
        "fileio.TrackFromfiles.track_ratio",
        1.5,
        files=(1000, 1 << 17),
        memory="recycled",
        workers="all",
        quick={"files": (100, 1 << 17)},
    ),
    figure(
        "fromfiles, {files[0]:,} files: extra memory",
        "fileio.TrackFromfiles.track_extra_memory",
        5,
        unit="%",
        files=(1000, 1 << 17),
        memory="fresh",
        workers="all",
        quick={"files": (100, 1 << 17)},
    ),
    tofile("new"),
    tofile("existing"),
    figure(
        "fromiter, {size}",
        "writing.TrackFromiter.track_ratio",
        0.95,
        size=20 * M,
        iterable="generator",
        count="counted",
        quick={"size": 2 * M},
    ),
    fill("copy"),
    fill("full"),
    figure(
        "np.exp float64, {size}",
        "elementwise.TrackElementwise.track_ratio",
        1.7,
        size=50 * M,
        dtype="f8",
        operation="exp",
        workers="all",
        quick={"size": 20 * M},
    ),
    map_of(2, 4, 2),
    map_of(10_000, 20, 10),
    figure(
        "worker killed to exception",
        "mapreduce.TrackDeath.track_from_kill_to_exception",
        50,
        5,
        "ms",
    ),
    figure(
        "Parallel block on 2 processes",
        "parallel.TrackBlock.track_empty_block",
        3,
        unit="ms",
        implementation="sharedarray",
    ),
    figure(
        "dynamic loop of Parallel",
        "parallel.TrackLoop.track_items",
        50_000,
        200_000,
        "items/s",
        schedule="dynamic",
        implementation="sharedarray",
    ),
    figure(
        "barrier of 2 processes",
        "parallel.TrackMeeting.track_barrier",
        50,
        unit="us",
        backend="process",
    ),
    *map(small, ["argsort", "sort", "sort in place", "sum", "fromfile"]),
    figure("import, beyond NumPy's", "overhead.TrackImport.track_beyond_numpy", 30, 15, "ms"),
    *map(extra_memory, ["argsort", "sort in place"]),
    *map(gil, ["argsort", "sort", "sum", "fromfile"]),
]

SCALING = [scaling("argsort"), scaling("sort"), scaling("sum")]
