"""Commands that set up a project or a machine."""
