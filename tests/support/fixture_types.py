"""The types of the fixtures that every test may use."""

from collections.abc import Callable

Ordinary = Callable[..., str]
"""Runs Python code with arguments, subject to permissions, and returns what it printed."""
