"""Beyond this tree of forks: executors, maps on Dask, and `dask.array`."""
