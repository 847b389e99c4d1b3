"""A real git repository for a test, with an identity and settings of its own."""

import os
import subprocess
from pathlib import Path


class Git:
    """A new repository whose branch is `main`, and git in it."""

    def __init__(self, top: Path) -> None:
        self.top = top
        top.mkdir(parents=True, exist_ok=True)
        self("init", "--quiet", "--initial-branch=main")

    def __call__(self, *words: str) -> str:
        """What git prints; it must succeed."""
        identity = ("-c", "user.name=smoke", "-c", "user.email=smoke@localhost")
        kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        done = subprocess.run(
            ["git", "-C", str(self.top), *identity, *words],
            env={**kept, "GIT_CONFIG_GLOBAL": "/dev/null"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def write(self, **files: str | None) -> None:
        """Write files of the top folder, `_` for a dot; None removes one."""
        for name, text in files.items():
            path = self.top / name.replace("_", ".")
            if text is None:
                path.unlink()
            else:
                path.write_text(text)

    def commit(self, subject: str, **files: str | None) -> str:
        """Write files and commit all there is; gives back the commit."""
        self.write(**files)
        self("add", "--all")
        self("commit", "--quiet", "--allow-empty", "--message", subject)
        return self("rev-parse", "HEAD")
