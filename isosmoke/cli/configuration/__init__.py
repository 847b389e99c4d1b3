"""The user's own defaults. They select presentation and local habits, and no gate reads them."""

COLOR = "isosmoke.color"
"""The key of the configured colour in the metadata of the command that runs."""
