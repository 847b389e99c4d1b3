"""A real git repository for a test, with its own identity and settings."""

import atexit
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

_SETTINGS = ("user.name=smoke", "user.email=smoke@localhost", "maintenance.auto=false")
"""The identity, and no process for the maintenance of a few objects after each commit."""

_OPTIONS = tuple(part for setting in _SETTINGS for part in ("-c", setting))


class Git:
    """The repository of a directory, and git commands in it; a new one has the branch `main`."""

    def __init__(self, top: Path) -> None:
        self.top = top
        top.mkdir(parents=True, exist_ok=True)
        if not (top / ".git").exists():
            self("init", "--quiet", "--initial-branch=main")

    @classmethod
    def copied(cls, top: Path, fill: "Callable[[Git], None]") -> "Git":
        """Return a repository as `fill` makes it of a new one, once in each process of tests."""
        shutil.copytree(_create_template(fill), top, symlinks=True)
        return cls(top)

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """Run a git command, which must succeed, and return its output."""
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith("GIT_")
        }
        result = subprocess.run(
            ["git", "-C", str(self.top), *_OPTIONS, *arguments],
            env={**environment, "GIT_CONFIG_GLOBAL": "/dev/null"},
            input=stdin,
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


@cache
def _create_template(fill: Callable[[Git], None]) -> Path:
    directory = Path(mkdtemp(prefix="isosmoke-tests-"))
    atexit.register(shutil.rmtree, directory)
    fill(Git(directory))
    return directory
