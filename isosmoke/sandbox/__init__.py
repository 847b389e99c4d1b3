"""What a sandbox contains, as data: mounts, user files, limits, processes."""
