"""The contents of a sandbox as data: mounts, user files, limits and processes."""
