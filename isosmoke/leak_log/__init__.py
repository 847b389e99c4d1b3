"""The log of `isosmoke-exec`: the leaks of existing suites; see docs/existing-suites.md."""
