"""How shared arrays travel to workers that cannot reach their memory: with their data."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from sharedarray import forks
from sharedarray.cluster.shipping import RESULT, ships_by
from sharedarray.functions.travelling import found_or_copied
from sharedarray.memory import conversion, pickling, registry
from sharedarray.memory.array import SharedArray

__all__: list[str] = []


def _reduce(a: SharedArray, how: str) -> Any:
    block = registry.owner(a)
    reference = pickling.reference_to(a)
    if block is None or reference is None:
        return a.__reduce_ex__(5)
    if how == RESULT and block.segment.mapped_by != forks.process_token():
        return a.__reduce_ex__(5)  # inherited: the other end has made it
    return found_or_copied, (reference, a.view(np.ndarray).copy(order="K"))


ships_by(SharedArray, _reduce, private=lambda a: a.view(np.ndarray), shared=conversion.array)
# A Dask worker imports this package when the first array comes; elsewhere DaskBackend does it.
if "distributed.protocol" in sys.modules:
    from sharedarray.cluster.dask_constructs import register_shipped

    register_shipped()
