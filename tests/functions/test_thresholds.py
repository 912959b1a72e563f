"""The sizes that docstrings name are those of the table of thresholds, and of the rooms below."""

from __future__ import annotations

import inspect
import re

import pytest

import sharedarray
from sharedarray.functions import thresholds as table
from sharedarray.memory import pages
from sharedarray_ops.sort import sorting

# The thresholds that the docstring of each function names.
SIZES = {
    "any": ["MIN_FASTEST_NBYTES", "MIN_SLOW"],
    "argmin": ["MIN_FAST_NBYTES", "MIN_SLOW"],
    "argpartition": ["MIN_PARTITION", "MIN_ARGPARTITION"],
    "argsort": ["MIN_ARGSORT", "sorting.LONG_ARGSORT", "MIN_LINES"],
    "bincount": ["MIN_BINCOUNT"],
    "count_nonzero": ["MIN_FASTEST_NBYTES", "MIN_SLOW"],
    "cumsum": ["MIN_CUMULATIVE"],
    "digitize": ["MIN_SEARCHSORTED"],
    "fromfile": ["MIN_FROMFILE"],
    "fromfiles": ["MIN_FROMFILE", "MIN_FILE"],
    "full": ["pages.MIN_PARALLEL_NBYTES", "pages._MIN_PARALLEL_FRESH_NBYTES"],
    "histogram": ["MIN_HISTOGRAM"],
    "lexsort": ["sorting.LONG_ARGSORT"],
    "load": ["MIN_FROMFILE"],
    "mean": ["MIN_FAST_NBYTES", "MIN_SLOW"],
    "median": ["MIN_QUANTILE", "MIN_QUANTILE_WORKERS"],
    "min": ["MIN_FASTEST_NBYTES", "MIN_SLOW"],
    "nanmin": ["MIN_FAST_NBYTES", "MIN_SLOW"],
    "nansum": ["MIN_SLOW"],
    "partition": ["MIN_PARTITION"],
    "prod": ["MIN_SLOW"],
    "ptp": ["MIN_FAST_NBYTES"],
    "searchsorted": ["MIN_SEARCHSORTED"],
    "sort": [
        "sorting.LONG_SORT",
        "sorting.LONG_SORT_SLOW",
        "sorting.LONG_SORT_HALF",
        "sorting.LONG_WIDE",
        "MIN_ARGSORT",
        "MIN_LINES",
    ],
    "sum": ["MIN_SUM", "MIN_FASTEST_NBYTES"],
    "take": ["MIN_TAKE"],
    "tofile": ["MIN_TOFILE", "MIN_TOFILE_COPIED"],
    "unique": ["MIN_UNIQUE", "MIN_UNIQUE_SORTED", "MIN_UNIQUE_INTEGERS"],
    "var": ["MIN_SLOW"],
}
# Of operators and assignments, which have no docstring of ours, and of workers inside a call.
UNNAMED = {
    "MIN_ASSIGN", "MIN_ASSIGN_MASK", "MIN_CHEAP", "MIN_CHEAP_GIVEN", "MIN_DEAR", "MIN_MIDDLE",
    "MIN_UNIQUE_WORKERS",
}  # fmt: skip
HOMES = {"": table, "pages": pages, "sorting": sorting}
IN_BYTES = {"MIN_FILE", "MIN_FROMFILE", "MIN_TOFILE", "MIN_TOFILE_COPIED"}
FROM = re.compile(r"\bfrom (\d{1,3}(?:,\d{3})+|\d+ [KM]iB)\b")


def text(name):
    """Return a threshold as docstrings write it."""
    home, _, constant = name.rpartition(".")
    size = getattr(HOMES[home], constant)
    if name not in IN_BYTES and not name.endswith("_NBYTES"):
        return f"{size:,}"
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def doc(function):
    return " ".join(inspect.getdoc(getattr(sharedarray, function)).split())


@pytest.mark.parametrize("function", SIZES)
def test_docstrings_name_their_thresholds(function):
    missing = [n for n in SIZES[function] if not re.search(rf"\b{text(n)}\b", doc(function))]

    assert missing == []


@pytest.mark.parametrize("function", sharedarray.__all__)
def test_docstrings_name_no_other_sizes(function):
    assert {*FROM.findall(doc(function))} <= {*map(text, SIZES.get(function, []))}


def test_every_threshold_is_named_in_a_docstring():
    named = {name for names in SIZES.values() for name in names if "." not in name}

    assert named | UNNAMED == {name for name in vars(table) if name.startswith("MIN_")}
    assert not named & UNNAMED


def test_sizes_are_found_in_a_text():
    assert FROM.findall("from 1,048,576 elements, or from 16 MiB; 4 MiB a worker, from 7 on") == [
        "1,048,576",
        "16 MiB",
    ]
