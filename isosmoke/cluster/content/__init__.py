"""The content that orders name by its digest: described, sent, and kept by workers."""
