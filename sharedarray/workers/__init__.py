"""Workers: backends, what their workers share, pools and background calls."""
