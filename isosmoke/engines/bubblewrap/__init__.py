"""Bubblewrap engine."""

from isosmoke.engines.bubblewrap.engine import BubblewrapEngine

__all__ = ["BubblewrapEngine"]
