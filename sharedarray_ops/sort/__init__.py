"""Sort, argsort, partition and unique."""
