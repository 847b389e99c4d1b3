"""Mirrors of manifests, which wg reads in place of the manifests."""
