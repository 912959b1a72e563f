"""Arrays from files and to files, in parallel."""
