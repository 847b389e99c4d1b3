"""The calls of a scenario: the log of the stand-in, their names and their effects."""
