"""Clean environments kept as directories: import, store, hash, diagnose."""
