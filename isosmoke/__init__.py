"""Smoke scenarios in fresh sandboxes, with the live binary and exact leak verdicts."""

__version__ = "0.1.0"

__all__ = ["__version__"]
