"""The names of `pools` and `inputs`, for modules that do not import them from there yet."""

from sharedarray.functions.inputs import plain, refuse_dask
from sharedarray.functions.pools import check_pool, numpy_errors, pool_for

__all__ = ["check_pool", "numpy_errors", "plain", "pool_for", "refuse_dask"]
