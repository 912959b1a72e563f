"""The names of `inputs`, for modules that do not import them from there yet."""

from sharedarray.functions.inputs import by_dask, is_dask

__all__ = ["by_dask", "is_dask"]
