"""Manifest models, parsing, diagnostics with line numbers, discovery and selection."""
