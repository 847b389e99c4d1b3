"""Comparison of the manifests of a work tree with earlier commits: they may only grow."""
