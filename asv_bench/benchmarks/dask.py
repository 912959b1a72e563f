"""Maps on a Dask cluster, beside Dask's own."""

from __future__ import annotations

import warnings
from typing import Any

from benchmarks.common import ratio
from sharedarray import MapReduce

try:
    from distributed import Client, LocalCluster

    from sharedarray.cluster.dask_maps import DaskBackend
except ImportError:
    LocalCluster = None

N_WORKERS = 2
N_ITEMS = 1000


def trivial(i: int) -> int:
    return i + 1


class TrackDaskMap:
    """A thousand items that take no time: what the way to the workers and back costs."""

    unit = "x"

    def setup(self) -> None:
        if LocalCluster is None:
            raise NotImplementedError("Dask is not installed")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Dask thinks of the machine
            self.cluster: Any = LocalCluster(
                n_workers=N_WORKERS,
                threads_per_worker=1,
                processes=True,
                protocol="tcp",
                dashboard_address=None,
            )
            self.client: Any = Client(self.cluster)
        self.pool = MapReduce(DaskBackend(self.client))

    def teardown(self) -> None:
        if LocalCluster is not None:
            self.client.close()
            self.cluster.close()

    def with_dask(self) -> Any:
        return self.client.gather(self.client.map(trivial, range(N_ITEMS), pure=False))

    def with_sharedarray(self) -> Any:
        return self.pool.map(trivial, range(N_ITEMS))

    def time_map(self) -> None:
        self.with_sharedarray()

    def track_ratio(self) -> float:
        return ratio(self.with_dask, self.with_sharedarray)
