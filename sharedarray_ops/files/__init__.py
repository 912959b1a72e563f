"""Read and write files, chunk by chunk."""
