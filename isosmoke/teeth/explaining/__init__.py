"""Explanations of survivors: which call of a subcommand a scenario does not notice, and where."""
