"""Who runs: backends, what their workers share, and the pools built on them."""
