"""The run of a single job in a fresh sandbox, and the collection of its remains."""
