"""The identity of the peers of a cluster: certificates and keys, and what only one can read."""
