"""A repository whose commits are built and bisected by isosmoke, as its user would run it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from support import available
from support.git_repositories import Git
from support.histories import create_history

BISECTED = """
[[scenario]]
name = "one"
script = "one.sh"
"""

BUILD = """
echo started >>"$BUILDS"
case $(cat verdict) in
    skip) exit 3 ;;
    good) code=0 ;;
    *) code=1 ;;
esac
printf '#!/bin/sh\\necho result >&2\\nexit %s\\n' "$code" >out && chmod +x out
sleep "${BUILD_SECONDS:-0}"
"""


class Bisected:
    """A repository with a random history, a scenario in its work tree, and a build command."""

    def __init__(self, directory: Path, seed: int, skips: float) -> None:
        self.git = Git(directory / "repository")
        self.history = create_history(self.git, seed, 14, skips=skips)
        self.top = self.git.top
        self.builds = directory / "builds"
        self.builds.touch()
        (directory / "home").mkdir()
        self.git.write(manifest_toml=BISECTED, one_sh="wg\n", build_sh=BUILD)
        self.environment = {
            "PATH": available.PATH,
            "HOME": str(directory / "home"),
            "ISOSMOKE_STATE": str(directory / "state"),
            "BUILDS": str(self.builds),
        }

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a bisection with `--build`."""
        build = ("--build", f"sh {self.top}/build.sh", "--binary", "out")
        return [*self.bare_command(*build), *arguments]

    def bare_command(self, *arguments: str) -> list[str]:
        """Return the command line of a bisection without a source of binaries."""
        ends = ("--good", self.history.good, "--bad", self.history.bad)
        return [*self.isosmoke("bisect", "one"), *ends, *arguments]

    def isosmoke(self, *arguments: str) -> list[str]:
        """Return an isosmoke command line."""
        return [sys.executable, "-m", "isosmoke", *arguments]

    def run(self, command: list[str], **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run a command line in the repository."""
        return subprocess.run(
            command,
            cwd=self.top,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    def describe(self) -> tuple[object, ...]:
        """Return the state of the repository that must not change."""
        files = sorted(path.name for path in self.top.iterdir() if path.name != ".isosmoke")
        index = (self.top / ".git/index").read_bytes()
        worktrees = self.git("worktree", "list", "--porcelain")
        siblings = sorted(path.name for path in self.top.parent.iterdir() if path.name[0] == ".")
        return self.git("rev-parse", "HEAD"), files, index, worktrees, siblings


def list_suspects(document: Any) -> set[str]:
    """Return the suspects of a bisection's document."""
    return {item["commit"] for item in document["suspects"]}
