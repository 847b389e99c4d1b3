"""The keeper, which is PID 1 of every sandbox, with its protocol and client."""

from pathlib import Path

KEEPER_FILE = Path(__file__).parent / "keeper"
"""The static keeper program, built together with isosmoke."""

LAUNCHER_FILE = KEEPER_FILE.with_name("launcher")
"""The static program that creates a sandbox of root with the options of bwrap."""

STAND_IN_FILE = KEEPER_FILE.with_name("stand-in")
"""The static program that takes the place of the live binary, for `isosmoke teeth`."""
