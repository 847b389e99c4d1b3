"""A project with a mirror manifest, and a stand-in for wg that works through it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from isosmoke.errors import IsosmokeError
from isosmoke.host import state
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.manifest import loader
from isosmoke.wg_bridge import mirror_manifest
from isosmoke.wg_bridge.bridged_run import BridgedRun
from support import available, wg_stand_in

PATH = "/usr/bin:/bin"
"""A PATH without wg: bridged scenarios need no live binary."""

Popen = subprocess.Popen[str]

NO_VARIABLES: Mapping[str, str] = {}

ScenarioReplies = Mapping[str, tuple[int, list[str]]]
"""The exit code of each scenario and the lines that wg would show, as the stand-in reports them."""


@dataclass(frozen=True, slots=True)
class Project:
    """A directory with scenarios of the task `task`."""

    top: Path

    def add(self, name: str, script: str, *, keys: str = "", owner: str = "task") -> None:
        """Add a scenario."""
        (self.top / f"{name}.sh").write_text(f"{script}\n")
        with self.manifest.open("a") as file:
            file.write(f"[[scenario]]\nname = '{name}'\nscript = '{name}.sh'\n")
            file.write(f"owners = ['{owner}']\nsettle_seconds = 0.2\n{keys}\n")

    @property
    def manifest(self) -> Path:
        return self.top / "manifest.toml"

    @property
    def mirror(self) -> Path:
        return self.top / "the mirror" / "bridge.toml"

    @property
    def done(self) -> bool:
        return (self.top / wg_stand_in.DONE).exists()

    def bridge(self) -> None:
        """Write the mirror manifest."""
        mirror_manifest.write_mirror(
            loader.load(self.manifest), self.mirror, state.ensure_directory("scratch")
        )

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of the stand-in."""
        return {
            "PATH": PATH,
            "HOME": str(self.top.parent / "home"),
            "ISOSMOKE_STATE": os.environ["ISOSMOKE_STATE"],
            "WG_SMOKE_MANIFEST": str(self.mirror),
            **variables,
        }

    def start(
        self,
        *arguments: str,
        working: Path | None = None,
        variables: Mapping[str, str] = NO_VARIABLES,
    ) -> Popen:
        """Start the stand-in as the leader of a process group, as a shell would."""
        return subprocess.Popen(
            [sys.executable, wg_stand_in.__file__, "done", *(arguments or ("task",))],
            cwd=working or self.top,
            env=self.environment(variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @contextmanager
    def running(self, *arguments: str) -> Iterator[Popen]:
        """Run the stand-in during the block, and kill it afterwards."""
        with self.start(*arguments) as process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGKILL)

    def gate(self, *arguments: str, variables: Mapping[str, str] = NO_VARIABLES) -> ScenarioReplies:
        """Run the stand-in and return its replies."""
        with self.start(*arguments, variables=variables) as process:
            return read_replies(process)


def read_replies(process: Popen) -> ScenarioReplies:
    """Wait for the stand-in to end, and return its replies."""
    output, errors = process.communicate(timeout=120)
    assert errors == ""
    replies: ScenarioReplies = json.loads(output)
    return replies


def list_processes() -> list[int]:
    """Return the processes that name this test's state directory: leaders, shims and sandboxes."""
    directory = os.environ["ISOSMOKE_STATE"]
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())
    return [pid for pid in pids if pid != os.getpid() and directory in read_command_line(pid)]


def list_leaders() -> list[int]:
    """Return those of `list_processes` that are leaders."""
    return [
        pid
        for pid in list_processes()
        if "isosmoke.wg_bridge" in read_command_line(pid).split("\0")
    ]


def read_command_line(pid: int) -> str:
    """Return the arguments of a process, separated by zero bytes; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def find_child(pid: int) -> int:
    """Return the only child of a process."""
    (child_pid,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child_pid)


def is_cleaned_up() -> bool:
    """Return whether all processes of the test end and its scratch directory becomes empty."""
    is_empty = available.wait_for(lambda: not list_processes())
    scratch = Path(os.environ["ISOSMOKE_STATE"], "scratch")
    return is_empty and list(scratch.iterdir()) == []


def create_project(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Create an empty project in a new directory, or skip without an engine to run it."""
    available.require_engine("bubblewrap")
    for name in ("home", "project"):
        (directory / name).mkdir(parents=True)
    monkeypatch.setenv("ISOSMOKE_STATE", str(directory / "the state"))
    return Project(directory / "project")


def expect_refusal(manifest: Path, caller: Caller, reason: str) -> None:
    """Check that a call of wg for the scenario `one` is refused before anything is reported."""
    reported: list[str] = []
    run = BridgedRun(
        source=loader.load(manifest),
        names=("one",),
        call=None,
        report=lambda name, _: reported.append(name),
    )

    with pytest.raises(IsosmokeError, match=reason):
        run.execute(caller, Interrupt())
    assert reported == []
