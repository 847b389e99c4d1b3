"""Commands that gate tasks and manifests."""
