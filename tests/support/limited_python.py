"""A Python whose files have a limited size, as on a disk that becomes full."""

import subprocess
import sys


def run(code: str, *arguments: str, most: int) -> "subprocess.CompletedProcess[str]":
    """Run code that can write at most `most` bytes to a file.

    It writes no bytecode. Python does not notice that only a part of it was written, and each
    later import of that module would fail: "EOFError: marshal data too short".
    """
    return subprocess.run(
        ["prlimit", f"--fsize={most}", sys.executable, "-B", "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
