"""The live report of a run: what runs, what failed so far, and when the run is expected to end."""
