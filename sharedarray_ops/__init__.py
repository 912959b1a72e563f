"""The algorithms of sharedarray: NumPy and the standard library only.

Each function is handed its inputs, its output and a pool, so that it can be read, tested and
reused without knowing what a worker or a shared segment is. `sharedarray` is what a user imports.
"""
