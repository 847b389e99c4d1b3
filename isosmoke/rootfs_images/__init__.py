"""Clean environments that are stored as directories: import, store, hash, diagnose."""
