"""A project on disk with a manifest and scripts, and isosmoke as its user would run it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from isosmoke.host.caller_process import Caller
from support import available, forked_commands

GOOD = """
[[scenario]]
name = "good"
script = "scenarios/good.sh"
owners = ["task-a"]
assertion = "It works."
"""

BAD = """
[[scenario]]
name = "bad"
script = "scenarios/bad.sh"
owners = ["task-b"]
assertion = "It never breaks."
"""

SKIPS = """
[[scenario]]
name = "skips"
script = "scenarios/skips.sh"
owners = ["task-c"]
"""

SCRIPTS = {
    "good.sh": '. "$(dirname "$0")/lib.sh"\nfine\n',
    "lib.sh": "fine() { echo fine; }\n",
    "bad.sh": "echo broken >&2\nexit 3\n",
    "skips.sh": "echo 'reason: no network' >&2\nexit 77\n",
}


@dataclass(frozen=True, slots=True)
class Project:
    """A project whose `top` has a manifest, scripts and a program `wg`; `state` is isosmoke's."""

    top: Path
    state: Path

    @classmethod
    def within(cls, directory: Path, manifest: str = GOOD + BAD + SKIPS) -> "Project":
        """Create a project in an empty directory, with the caller's HOME elsewhere."""
        project = cls(directory / "project", directory / "state")
        (project.top / "scenarios").mkdir(parents=True)
        (directory / "home").mkdir()
        project.manifest.write_text(manifest)
        for name, text in SCRIPTS.items():
            (project.top / "scenarios" / name).write_text(text)
        project.binary.write_text("#!/bin/sh\necho wg\n")
        project.binary.chmod(0o755)
        return project

    @property
    def manifest(self) -> Path:
        return self.top / "manifest.toml"

    @property
    def binary(self) -> Path:
        return self.top / "wg"

    def path(self, name: str) -> Path:
        """Return the path of a file of the project."""
        return self.top / name

    def environment(self) -> Mapping[str, str]:
        """Return the environment of a caller with a HOME and the system's programs only."""
        return {
            "PATH": available.PATH,
            "HOME": str(self.top.parent / "home"),
            "ISOSMOKE_STATE": str(self.state),
            "ISOSMOKE_WG": str(self.binary),
            **available.DAEMON_VARIABLES,
        }

    def create_caller(self) -> Caller:
        """Return a caller in the top directory of the project, for a test without a process."""
        environment = self.environment()
        return Caller(
            uid=os.getuid(),
            gid=os.getgid(),
            user="u",
            home=Path(environment["HOME"]),
            working=self.top,
            environment=environment,
        )

    def command(self, *arguments: str) -> list[str]:
        """Return an isosmoke command line."""
        return [sys.executable, "-m", "isosmoke", *arguments]

    def run(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run isosmoke to its end, in the top directory of the project."""
        return forked_commands.run(arguments, self.top, {**self.environment(), **variables})

    def kill_during(self, name: str, *arguments: str, recorded: Sequence[str] = ()) -> None:
        """Run isosmoke, and kill it with SIGKILL once the scenario `name` has started.

        The results of the scenarios that are `recorded` are on disk by then.
        """
        self.path(f"scenarios/{name}.sh").write_text("echo started\nsleep 600\n")
        run = subprocess.Popen(
            self.command(*arguments),
            cwd=self.top,
            env=self.environment(),
            stdout=subprocess.DEVNULL,
        )
        try:
            for file in (f"{name}/output-1.log", *(f"{other}/result.json" for other in recorded)):
                found = partial(self.top.glob, f".isosmoke/runs/*/{file}")
                assert available.wait_for(partial(_has_any, found), 60)
        finally:
            run.kill()
            run.wait()

    def receipts(self) -> list[Path]:
        """Return every receipt in the project, the oldest first."""
        receipts = (self.top / ".isosmoke/receipts").glob("*.json")
        return sorted(receipts, key=lambda path: path.stat().st_mtime_ns)


def _has_any(found: Callable[[], Iterable[Path]]) -> bool:
    return any(True for _ in found())
