"""A gate's run shows copies of the files that were hashed, and a change of an input shuts it."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from isosmoke.gate import gate_run
from isosmoke.gate.gate_run import GateRequest, GateResult
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.results.events import Event, RunFinished, RunStarted
from support import available
from support.git_repositories import Git
from support.project import Project

ENTRY = """
[[scenario]]
name = "good"
script = "scenarios/good.sh"
owners = ["task-a"]
"""

EMPTY = "exit 0\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project whose only scenario fails, wherever the failure is."""
    available.require_engine("bubblewrap")
    project = Project.within(tmp_path, ENTRY)
    project.path("tools").mkdir()
    Git(project.top)
    return project


def gate(project: Project, on_event: Callable[[Event], None]) -> GateResult:
    """Pass `task-a` through the gate, and call a function for each event of the run."""
    caller = replace(Caller.current(), working=project.top, environment=project.environment())
    return gate_run.run_gate(
        GateRequest(task="task-a"), caller, notify=on_event, interrupt=Interrupt()
    )


def swap(file: Path, text: str) -> Callable[[Event], None]:
    """Return a function that replaces a file during a run, and restores it at the end."""
    original = file.read_bytes()
    status = file.stat()

    def notify(event: Event) -> None:
        if isinstance(event, RunStarted):
            file.write_text(text)
        if isinstance(event, RunFinished):
            file.write_bytes(original)
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))

    return notify


SWAPPED = {
    "the script": ({"scenarios/good.sh": "exit 3\n"}, "scenarios/good.sh"),
    "a sourced file": (
        {"scenarios/good.sh": ". scenarios/lib.sh\n", "scenarios/lib.sh": "exit 3\n"},
        "scenarios/lib.sh",
    ),
    "a file sourced through a variable": (
        {
            "scenarios/good.sh": 'HERE=$(dirname "$0")\n. "$HERE/lib.sh"\n',
            "scenarios/lib.sh": "exit 3\n",
        },
        "scenarios/lib.sh",
    ),
    "a file that a sourced file sources": (
        {
            "scenarios/good.sh": ". scenarios/lib.sh\n",
            "scenarios/lib.sh": ". scenarios/more.sh\n",
            "scenarios/more.sh": "exit 3\n",
        },
        "scenarios/more.sh",
    ),
    "a script that is started": (
        {"scenarios/good.sh": "bash scenarios/check.sh\n", "scenarios/check.sh": "exit 3\n"},
        "scenarios/check.sh",
    ),
    "a file in another language": (
        {
            "scenarios/good.sh": "grep -q good scenarios/expected.txt\n",
            "scenarios/expected.txt": "bad\n",
        },
        "scenarios/expected.txt",
    ),
    "a file outside the manifest's directory": (
        {"scenarios/good.sh": ". tools/lib.sh\n", "tools/lib.sh": "exit 3\n"},
        "tools/lib.sh",
    ),
}


@pytest.mark.parametrize(("files", "swapped"), SWAPPED.values(), ids=SWAPPED)
def test_file_that_is_swapped_during_the_run_is_not_what_runs(
    project: Project, files: dict[str, str], swapped: str
) -> None:
    """A file that is replaced during the run and restored at its end changes no outcome."""
    for name, text in files.items():
        project.path(name).write_text(text)
    weaker = "good\n" if swapped.endswith(".txt") else EMPTY

    answer = gate(project, swap(project.path(swapped), weaker))

    assert answer.run is not None
    assert answer.run.counts == {"FAIL": 1}
    assert not answer.verdict.open


def test_link_that_is_swapped_during_the_run_is_not_followed(project: Project) -> None:
    """A sourced file is found through the links as they were when it was hashed."""
    project.path("scenarios/good.sh").write_text(". scenarios/lib.sh\n")
    project.path("scenarios/strict.sh").write_text("exit 3\n")
    project.path("scenarios/weak.sh").write_text(EMPTY)
    link = project.path("scenarios/lib.sh")
    link.unlink()
    link.symlink_to("strict.sh")

    def repoint(event: Event) -> None:
        if isinstance(event, RunStarted | RunFinished):
            link.unlink()
            link.symlink_to("weak.sh" if isinstance(event, RunStarted) else "strict.sh")

    answer = gate(project, repoint)

    assert answer.run is not None
    assert answer.run.counts == {"FAIL": 1}


def test_script_may_change_its_own_copy(project: Project) -> None:
    """The copies are as writable as the other files of the workspace, and are discarded."""
    script = "cp $0 other && mv other scenarios/good.sh && rm scenarios/lib.sh && rm -r scenarios\n"
    project.path("scenarios/good.sh").write_text(script)

    answer = gate(project, lambda _: None)

    assert answer.run is not None
    assert answer.run.counts == {"PASS": 1}, answer.verdict.lines
    assert answer.verdict.open
    assert project.path("scenarios/good.sh").read_text() == script
    changes = answer.run.scenarios[0].attempts[-1].evidence
    assert changes is None or changes.changes


def rebuild(project: Project) -> None:
    """Build the binary again, with other content."""
    project.binary.write_text("#!/bin/sh\necho rebuilt\n")


def commit(project: Project) -> None:
    """Make a commit."""
    Git(project.top).commit("another", more_txt="more")


DURING = {
    "binary is rebuilt": (rebuild, "binary wg changed"),
    "binary is removed": (lambda project: project.binary.unlink(), "binary wg was removed"),
    "entry changes": (
        lambda project: project.manifest.write_text(ENTRY + "retries = 1\n"),
        "scenario good changed",
    ),
    "entry is removed": (lambda project: project.manifest.unlink(), "was removed"),
    "commit is made": (commit, "the commit changed"),
    "copy in the store is changed": (
        lambda project: [
            copy.write_text("#!/bin/sh\n") for copy in project.state.glob("binaries/*/wg")
        ],
        "the stored copy of binary wg changed",
    ),
}


@pytest.mark.parametrize(("change", "message"), DURING.values(), ids=DURING)
def test_change_during_the_run_shuts_the_gate(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Project], object],
    message: str,
) -> None:
    """A verdict holds only if its inputs are the same before and after the run."""
    monkeypatch.setenv("ISOSMOKE_STATE", str(project.state))
    project.path("scenarios/good.sh").write_text("true\n")
    Git(project.top).commit("first")

    def notify(event: Event) -> None:
        if isinstance(event, RunStarted):
            change(project)

    answer = gate(project, notify)

    assert answer.run is not None
    assert answer.run.counts == {"PASS": 1}
    assert not answer.verdict.open
    assert message in "\n".join(answer.verdict.lines)
