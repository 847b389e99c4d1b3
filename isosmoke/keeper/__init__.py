"""The keeper: PID 1 of every sandbox, and the conversation with it."""

from pathlib import Path

KEEPER_FILE = Path(__file__).parent / "keeper"
"""The static program, built with isosmoke."""
