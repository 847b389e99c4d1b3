"""Past runs and gate records on disk."""
