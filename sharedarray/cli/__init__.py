"""The command line: ``python -m sharedarray``."""
