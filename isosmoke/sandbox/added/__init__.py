"""Files and directories that isosmoke adds to a sandbox, beyond those of its system."""
