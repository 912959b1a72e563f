"""How shared arrays travel in the results of worker processes.

Memory that the coordinator has too is referred to, as in any pickle. Of what a worker has made, or
has got from workers of its own, a large array goes with the descriptor of its segment, and the
coordinator adopts it, without a copy; a small one is copied.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np

from sharedarray import forks
from sharedarray.errors import SharedArrayUnpickleError
from sharedarray.memory import conversion, pickling, registry
from sharedarray.memory.array import SharedArray
from sharedarray.memory.segment import has_descriptor_to_spare
from sharedarray.workers.travelling import received_descriptor, send_descriptor, travels_by

__all__ = ["found_or_copied"]


def _reduce(a: SharedArray) -> Any:
    block = registry.owner(a)
    if block is None or block.segment.mapped_by != forks.process_token():
        return a.__reduce_ex__(5)
    segment = block.segment
    reference = pickling.reference_to(a)
    if reference is None or isinstance(reference[-1], str):  # a named one goes by its name
        return a.__reduce_ex__(5)
    if segment.descriptor is not None and segment.step == segment.nbytes:
        position = send_descriptor(segment.descriptor)
        if position is not None:
            segment.is_seen[0] = 1  # not to be used again by this process
            return _adopt, (reference, position)
    return found_or_copied, (reference, a.view(np.ndarray).copy(order="K"))


def found_or_copied(reference: tuple[Any, ...], data: np.ndarray) -> SharedArray:
    """Return the array itself where it is in this process, as in its own round trip."""
    if registry.find_id(reference[1]) is not None:
        with suppress(SharedArrayUnpickleError):
            return pickling.resolve(SharedArray, reference)
    a = conversion.array(data)
    a.flags.writeable = reference[8]
    return a


def _adopt(reference: tuple[Any, ...], position: int) -> SharedArray:
    array = pickling.resolve(SharedArray, reference, received_descriptor(position))
    return array if has_descriptor_to_spare() else conversion.array(array)


travels_by(SharedArray, _reduce)
