"""What more workers gain over one."""

from __future__ import annotations

import numpy as np

import sharedarray
from benchmarks.common import data, ratio, skip_unless_full

SIZE = 4_000_000
FULL_SIZE = 50_000_000

OPERATIONS = {
    "argsort": sharedarray.argsort,
    "sort": lambda a: a.sort(),
    "sum": sharedarray.sum,
}


class TrackScaling:
    """How many times as long one worker takes."""

    # The same list on every machine: asv compares by parameters. Text gets equal steps on its axis.
    params = [[SIZE, FULL_SIZE], [*OPERATIONS], [str(1 << k) for k in range(7)]]
    param_names = ["size", "operation", "workers"]
    unit = "x"
    timeout = 600

    def setup(self, size, operation, workers):
        skip_unless_full(size, SIZE)
        if int(workers) > sharedarray.cpu_count():
            raise NotImplementedError(f"there are {sharedarray.cpu_count()} workers")
        self.source = data(size, "f8", "random")
        self.shared = sharedarray.array(self.source)

    def track_ratio(self, size, operation, workers):
        run = OPERATIONS[operation]

        def with_workers(n):
            with sharedarray.num_workers(n):
                run(self.shared)

        def unsort():
            if operation == "sort":
                np.copyto(self.shared, self.source)

        return ratio(lambda: with_workers(1), lambda: with_workers(int(workers)), unsort)
