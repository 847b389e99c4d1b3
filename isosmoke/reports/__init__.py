"""Ways to tell of a run: events or results in, text out."""
