"""Shards of a run on several machines: the part of each one, and the merge of their records."""
