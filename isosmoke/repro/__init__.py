"""The reproduction of a scenario in its own sandbox, from a live project or from a bundle."""
