"""The tables and plots of ``python -m sharedarray bench``."""
