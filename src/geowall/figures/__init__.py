"""Charts: each ``fig_*`` takes a tidy table and returns a finished chart; how they look and are shown."""
