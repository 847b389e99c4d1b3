"""Proofs that a scenario fails with a broken binary and passes with a fixed one."""
