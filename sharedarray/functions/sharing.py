"""Have the variables of a block lie in shared memory: what `workers` is to know of `memory`."""

from __future__ import annotations

from sharedarray.memory.creation import asarray
from sharedarray.openmp.variables import shares_by

__all__: list[str] = []

shares_by(asarray)
