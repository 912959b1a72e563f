"""An OpenMP-like block of code that several ranks run, and what they share work and data by."""
