"""The bytes: shared mappings, the arrays on them, and NumPy's creation functions."""
