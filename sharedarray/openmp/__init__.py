"""OpenMP-like parallel blocks: ranks, loops, synchronization, shared and reduced variables."""
