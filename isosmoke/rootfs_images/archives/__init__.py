"""Archives that are unpacked: of a root filesystem, and of what must stay inside a directory."""
