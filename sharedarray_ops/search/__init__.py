"""Search sorted tables, and count values in bins."""
