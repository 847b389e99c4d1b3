"""Audits of completed tasks."""
