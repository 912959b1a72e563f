"""Shared arrays as arguments and results of Dask tasks: sent with their data, shared on arrival.

The façade calls `register` where Dask is loaded already, as in a Dask worker that loads this
package to unpickle its first array; `DaskBackend` does it elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sharedarray.memory.array import SharedArray
from sharedarray.memory.conversion import array

__all__ = ["register"]


def register() -> None:
    """Have Dask send shared arrays with their data, and make them shared again at the other end."""
    from distributed import protocol  # an extra
    from distributed.protocol.numpy import deserialize_numpy_ndarray, serialize_numpy_ndarray

    dask: Any = protocol  # which does not say what it exports

    @dask.dask_serialize.register(SharedArray)  # type: ignore[untyped-decorator]
    def serialize(a: SharedArray, context: Any = None) -> Any:
        return serialize_numpy_ndarray(a.view(np.ndarray), context=context)

    @dask.dask_deserialize.register(SharedArray)  # type: ignore[untyped-decorator]
    def deserialize(header: Any, frames: Any) -> Any:
        return array(deserialize_numpy_ndarray(header, frames))
