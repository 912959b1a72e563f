"""Where the functions turn to Dask: known before it is there, loaded by their first use."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from sharedarray.firstuse import Later

if TYPE_CHECKING:
    from sharedarray.functions import daskarrays, daskfiles
else:
    daskarrays = Later("sharedarray.functions.daskarrays")
    daskfiles = Later("sharedarray.functions.daskfiles")

__all__ = ["daskarrays", "daskfiles", "is_dask"]


def is_dask(a: Any) -> bool:
    """Return whether an object is a dask array; where nobody has imported Dask, there is none."""
    module = sys.modules.get("dask.array")
    return module is not None and isinstance(a, getattr(module, "Array", ()))
