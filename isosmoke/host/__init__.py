"""Access to this machine: its users, directories, git repositories and the binary under test."""
