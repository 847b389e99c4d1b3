"""A project with a standing mirror, and the stand-in for wg working through it."""

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

from isosmoke.host import state
from isosmoke.manifest import loader
from isosmoke.wg_bridge import mirror_manifest
from support import available, wg_stand_in

PATH = "/usr/bin:/bin"
"""Without wg: what is bridged needs no live binary, and no run need look at one."""

Popen = subprocess.Popen[str]

NOTHING: Mapping[str, str] = {}

Seen = Mapping[str, tuple[int, list[str]]]
"""What the stand-in for wg saw of each scenario: its exit code and the lines that wg would show."""


@dataclass(frozen=True, slots=True)
class Project:
    """A folder with scenarios of the task `task`."""

    top: Path

    def add(self, name: str, script: str, *, keys: str = "", owner: str = "task") -> None:
        """One more scenario."""
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
        """Write the mirror."""
        mirror_manifest.write(loader.load(self.manifest), self.mirror, state.kept("scratch"))

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """What the stand-in gets."""
        return {
            "PATH": PATH,
            "HOME": str(self.top.parent / "home"),
            "ISOSMOKE_STATE": os.environ["ISOSMOKE_STATE"],
            "WG_SMOKE_MANIFEST": str(self.mirror),
            **more,
        }

    def start(
        self, *words: str, working: Path | None = None, more: Mapping[str, str] = NOTHING
    ) -> Popen:
        """The stand-in beside the test, leader of a process group as a shell would start it."""
        return subprocess.Popen(
            [sys.executable, wg_stand_in.__file__, "done", *(words or ("task",))],
            cwd=working or self.top,
            env=self.environment(more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @contextmanager
    def going(self, *words: str) -> Iterator[Popen]:
        """The stand-in beside the test, which does not outlive it."""
        with self.start(*words) as process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGKILL)

    def gate(self, *words: str, more: Mapping[str, str] = NOTHING) -> Seen:
        """What the stand-in saw, once it is through."""
        with self.start(*words, more=more) as process:
            return seen(process)


def seen(process: Popen) -> Seen:
    """What the stand-in saw, once it is through."""
    told, complaints = process.communicate(timeout=120)
    assert complaints == ""
    report: Seen = json.loads(told)
    return report


def living() -> list[int]:
    """The processes that name this test's state folder: leaders, shims, and their sandboxes."""
    folder = os.environ["ISOSMOKE_STATE"]
    found = (int(one.name) for one in Path("/proc").iterdir() if one.name.isdecimal())
    return [pid for pid in found if pid != os.getpid() and folder in command_line(pid)]


def leaders() -> list[int]:
    """Those of them that lead."""
    return [pid for pid in living() if "isosmoke.wg_bridge" in command_line(pid).split("\0")]


def command_line(pid: int) -> str:
    """The words of a process with zero bytes between; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def child(pid: int) -> int:
    """The one child of a process."""
    (found,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(found)


def nothing_is_left() -> bool:
    """Whether all that belonged to the test ends, and its private folder with it."""
    gone = available.eventually(lambda: not living(), 20)
    scratch = Path(os.environ["ISOSMOKE_STATE"], "scratch")
    return gone and list(scratch.iterdir()) == []


def within(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty project in a new folder, where there is an engine to run it."""
    available.engine("bubblewrap")
    for name in ("home", "project"):
        (folder / name).mkdir(parents=True)
    monkeypatch.setenv("ISOSMOKE_STATE", str(folder / "the state"))
    return Project(folder / "project")
