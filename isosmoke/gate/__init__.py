"""Decide whether a task may be called done, and record the decision in a receipt."""
