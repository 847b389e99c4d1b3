"""A real git repository for a test, with its own identity and settings."""

import os
import subprocess
from pathlib import Path


class Git:
    """A new repository with the branch `main`, and git commands in it."""

    def __init__(self, top: Path) -> None:
        self.top = top
        top.mkdir(parents=True, exist_ok=True)
        self("init", "--quiet", "--initial-branch=main")

    def __call__(self, *arguments: str) -> str:
        """Run a git command, which must succeed, and return its output."""
        identity = ("-c", "user.name=smoke", "-c", "user.email=smoke@localhost")
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith("GIT_")
        }
        result = subprocess.run(
            ["git", "-C", str(self.top), *identity, *arguments],
            env={**environment, "GIT_CONFIG_GLOBAL": "/dev/null"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    def write(self, **files: str | None) -> None:
        """Write files of the top directory, with `_` for a dot; None removes a file."""
        for name, text in files.items():
            path = self.top / name.replace("_", ".")
            if text is None:
                path.unlink()
            else:
                path.write_text(text)

    def commit(self, subject: str, **files: str | None) -> str:
        """Write files, commit everything, and return the commit."""
        self.write(**files)
        self("add", "--all")
        self("commit", "--quiet", "--allow-empty", "--message", subject)
        return self("rev-parse", "HEAD")
