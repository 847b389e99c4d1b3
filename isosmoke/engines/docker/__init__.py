"""Sandboxes by a Docker-compatible daemon."""
