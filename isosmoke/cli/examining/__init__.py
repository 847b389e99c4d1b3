"""Commands that examine a single scenario by running it many times."""
