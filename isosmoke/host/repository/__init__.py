"""The history of a git repository: its revisions, its files, and what its work tree hides."""
