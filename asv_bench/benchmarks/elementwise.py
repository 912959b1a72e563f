"""Ufuncs, operators and assignment."""

from __future__ import annotations

from importlib import import_module
from timeit import repeat

import numpy as np

import sharedarray
from benchmarks.common import (
    IMPLEMENTATIONS,
    WORKERS,
    data,
    ratio,
    set_workers,
    skip_unless_full,
)

SIZE = 20_000_000
FULL_SIZE = 50_000_000


def add_in_place(a, b, out):
    a += b
    return a


def set_all(a, b, out):
    out[...] = b


def set_under_mask(a, b, out):
    out[a < 0.5] = 1


OPERATIONS = {
    "exp": lambda a, b, out: np.exp(a),
    "log": lambda a, b, out: np.log(a),
    "sin": lambda a, b, out: np.sin(a),
    "exp into out": lambda a, b, out: np.exp(a, out=out),
    "add": lambda a, b, out: a + b,
    "add into out": lambda a, b, out: np.add(a, b, out=out),
    "add in place": add_in_place,
    "less": lambda a, b, out: a < b,
    "clip": lambda a, b, out: np.clip(a, 0.25, 0.75),
    "divmod": lambda a, b, out: np.divmod(a, b),
    "set": set_all,
    "set under mask": set_under_mask,
}


class Elementwise:
    params = [[SIZE], ["f8", "f4"], [*OPERATIONS], IMPLEMENTATIONS]
    param_names = ["size", "dtype", "operation", "implementation"]

    def setup(self, size, dtype, operation, implementation):
        library = {"numpy": np, "sharedarray": sharedarray}[implementation]
        values = data(size, dtype, "random")
        self.operands = [library.array(values), library.array(values), library.array(values)]
        self.run = OPERATIONS[operation]

    def time_elementwise(self, *params):
        self.run(*self.operands)


class TrackElementwise:
    params = [[SIZE, FULL_SIZE], ["f8"], [*OPERATIONS], WORKERS]
    param_names = ["size", "dtype", "operation", "workers"]
    unit = "x"
    timeout = 600

    def setup(self, size, dtype, operation, workers):
        skip_unless_full(size, SIZE)
        set_workers(workers)
        values = data(size, dtype, "random")
        self.private = [values.copy() for _ in range(3)]
        self.shared = [sharedarray.array(values) for _ in range(3)]
        self.run = OPERATIONS[operation]

    def track_ratio(self, *params):
        return ratio(lambda: self.run(*self.private), lambda: self.run(*self.shared))


# What each package makes of the same words.
EXPRESSIONS = {
    "exp": "exp(a)",
    "add": "a + b",
    "hypot": "sqrt(a * a + b * b)",
}


class Peers:
    """What else a user may have installed; each with all of the machine that it takes."""

    params = [[SIZE], ["f8"], [*EXPRESSIONS], ["sharedarray", "numpy", "numexpr", "torch"]]
    param_names = ["size", "dtype", "operation", "implementation"]

    def setup(self, size, dtype, operation, implementation):
        values = data(size, dtype, "random")
        self.run = _peer(implementation, EXPRESSIONS[operation], values.copy(), values.copy())
        self.run()  # numexpr compiles what is new to it

    def time_expression(self, *params):
        self.run()


def _peer(name, expression, a, b):
    """Return the evaluation of an expression by a package."""
    try:
        package = import_module("numpy" if name == "sharedarray" else name)
    except ImportError as error:
        raise NotImplementedError(f"{name} is not installed") from error
    if name == "numexpr":
        return lambda: package.evaluate(expression, {"a": a, "b": b})
    if name != "numpy":
        array = sharedarray.array if name == "sharedarray" else package.from_numpy
        a, b = array(a), array(b)
    return eval(f"lambda: {expression}", {**vars(package), "a": a, "b": b})


class TrackSmallElementwise:
    """What a call on ten elements costs beyond NumPy's own."""

    params = [["a + 1", "a + a", "np.exp(a)", "np.add(a, a, out=a)", "a < 3", "a[3] = 2.0"]]
    param_names = ["statement"]
    unit = "us"

    def track_over_numpy(self, statement):
        seconds = []
        for library in (np, sharedarray):
            names = {"np": np, "a": library.arange(10.0)}
            seconds.append(min(repeat(statement, globals=names, number=5_000, repeat=9)) / 5_000)
        return (seconds[1] - seconds[0]) * 1e6
