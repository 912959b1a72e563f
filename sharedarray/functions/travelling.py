"""How shared arrays travel in the results of worker processes.

Memory that the coordinator has too is referred to, as in any pickle. Of what a worker has made, a
large array goes with the descriptor of its segment, and the coordinator adopts it, without a copy;
a small one is copied.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sharedarray.memory import conversion, pickling, registry
from sharedarray.memory.array import SharedArray
from sharedarray.memory.segment import has_descriptor_to_spare
from sharedarray.workers.travelling import received_descriptor, send_descriptor, travels_by

__all__: list[str] = []


def _reduce(a: SharedArray) -> Any:
    block = registry.owner(a)
    if block is None or not block.segment.is_own:
        return a.__reduce_ex__(5)
    segment = block.segment
    if segment.descriptor is not None and segment.step == segment.nbytes:
        position = send_descriptor(segment.descriptor)
        if position is not None:
            segment.is_seen[0] = 1  # not to be used again by this process
            return _adopt, (pickling.reference_to(a), position)
    return conversion.array, (a.view(np.ndarray),)


def _adopt(reference: tuple[Any, ...], position: int) -> SharedArray:
    array = pickling.resolve(SharedArray, reference, received_descriptor(position))
    return array if has_descriptor_to_spare() else conversion.array(array)


travels_by(SharedArray, _reduce)
