"""Decide whether a task may be called done, and keep the receipt."""
