"""Read a manifest: models, parsing, errors with a place, discovery and selection."""
