"""Caches of package managers and compilers: where they are, what is visible, what is kept."""
