"""The keeper, which is PID 1 of every sandbox, with its protocol and client."""

from pathlib import Path

KEEPER_FILE = Path(__file__).parent / "keeper"
"""The static keeper program, built together with isosmoke."""
