"""Types of the fixtures that every test may use."""

from collections.abc import Callable

Ordinary = Callable[..., str]
"""A function that runs Python code with arguments, subject to permissions, and returns stdout."""
