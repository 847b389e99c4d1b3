"""Teeth: whether a scenario fails if a subcommand of the live binary is broken."""
