"""Trials in a sandbox: whether the binary starts in an image, and what an engine supports."""
