"""Validation of manifests with pydantic, which a validated manifest no longer needs."""
