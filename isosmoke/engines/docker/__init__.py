"""Docker engine, which creates sandboxes with a Docker-compatible daemon."""
