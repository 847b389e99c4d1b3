"""Open a scenario's sandbox, live or from a bundle."""
