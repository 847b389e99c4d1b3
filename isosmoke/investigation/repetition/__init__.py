"""Repetitions of a scenario: stress runs, and failure rates over the records of past runs."""
