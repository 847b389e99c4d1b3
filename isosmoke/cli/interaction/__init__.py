"""The user's side of a command that runs: keys and signals that ask what is going on."""
