"""The search for the first commit whose binary fails a scenario."""
