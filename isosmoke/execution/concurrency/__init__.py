"""The concurrency of a run: what the machine bears, and which failures a neighbour may cause."""
