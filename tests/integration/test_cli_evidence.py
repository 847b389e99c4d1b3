"""Recorded evidence of a run, as the command line records and shows it."""

import json
from pathlib import Path
from typing import Any

import pytest

from isosmoke.engines.bubblewrap import group_places
from support import available
from support.project import BAD, GOOD, Project

WRITES = "echo found >~/note; exit 3\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project with a scenario that passes and one that writes a file and fails."""
    project = Project.within(tmp_path, GOOD + BAD)
    project.path("scenarios/bad.sh").write_text(WRITES)
    project.path("scenarios/good.sh").write_text("echo found >~/note\n")
    return project


def _collect_evidence(project: Project, *arguments: str, **variables: str) -> dict[str, Any]:
    """Run scenarios and return their evidence by name."""
    done = project.run("run", "--json", *arguments, **variables)
    assert done.returncode in (0, 1), done.stderr
    scenarios = json.loads(done.stdout)["scenarios"]
    return {entry["name"]: entry["attempts"][0]["evidence"] for entry in scenarios}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), {"good": False, "bad": True}),
        (("--evidence", "always"), {"good": True, "bad": True}),
        (("--evidence", "never"), {"good": False, "bad": False}),
    ],
    ids=["by default", "always", "never"],
)
def test_evidence_option_selects_recorded_attempts(
    project: Project, options: tuple[str, ...], expected: dict[str, bool]
) -> None:
    """Evidence is recorded for failures by default, or for all or no attempts."""
    available.require_engine("bubblewrap")
    collected = _collect_evidence(project, "--jobs", "1", *options)

    assert {name: evidence is not None for name, evidence in collected.items()} == expected
    home = project.top.parent / "home"
    for evidence in filter(None, collected.values()):
        assert [(change["path"], change["text"]) for change in evidence["changes"]] == [
            (f"{home}/note", "found\n")
        ]
        assert evidence["usage"]["largest"] > 0


def test_limit_that_ended_a_command_is_named_with_the_peaks_of_its_group(project: Project) -> None:
    """The outcome names the limit, and the peak of the memory is not above it."""
    available.require_engine("bubblewrap")
    if "memory" not in group_places.find_parents():
        pytest.skip("no control group can be created here")
    line = "set -o pipefail; head -c 100M /dev/zero | tail | wc -c"

    done = project.run("run", "--json", "--memory", "60M", "--", "bash", "-c", line)

    (scenario,) = json.loads(done.stdout)["scenarios"]
    (attempt,) = scenario["attempts"]
    peaks = attempt["evidence"]["peaks"]
    assert scenario["outcome"] == "FAIL"
    assert "the limit of 60 MiB memory was reached" in attempt["reason"]
    assert peaks["cpu"] > 0
    counted = peaks.get("memory", 60 << 20)  # with version 2, Linux before 5.19 counts none
    assert 50 << 20 < counted <= 60 << 20


def test_report_names_the_command_that_shows_evidence(project: Project) -> None:
    """The command that a failure names shows the file that the scenario wrote."""
    available.require_engine("bubblewrap")
    done = project.run("run", "--report", "console", "bad")
    details = next(line for line in done.stdout.splitlines() if line.startswith("  details"))
    count, _, command = details.removeprefix("  details").strip().partition(": ")
    shown = project.run(*command.split()[1:])

    assert count == "1 change"
    assert "  added   " in shown.stdout
    assert "  │ found" in shown.stdout.splitlines()


def test_file_pattern_shows_recorded_content(project: Project) -> None:
    """The end of a path selects a file; no match or no scenario is an error with a hint."""
    available.require_engine("bubblewrap")
    project.run("run", "bad")
    shown = project.run("show", "bad", "--file", "note")
    no_match = project.run("show", "bad", "--file", "*.log")
    no_scenario = project.run("show", "--file", "note")

    assert [line for line in shown.stdout.splitlines() if "│" in line] == ["  │ found"]
    assert len(shown.stdout.splitlines()) == 2
    assert no_match.returncode == 4
    assert "list recorded files with `isosmoke show" in no_match.stderr
    assert no_scenario.returncode == 2
    assert "isosmoke show NAME --file PATTERN" in no_scenario.stderr


WG = """
set -e
mkdir ~/repository && cd ~/repository && git init -q .
git commit -q --allow-empty -m first
wg init --no-agency >/dev/null
wg config --local --model claude:unused >/dev/null
wg service start --max-agents 1
cd .wg/service
until [ -S daemon.sock ] && [ -s daemon.log ] && [ -s state.json ]; do sleep 0.1; done
exit 1
"""


@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_evidence_includes_the_state_of_a_wg_service(name: str, project: Project) -> None:
    """The evidence of a wg failure includes its graph and its service's state, socket and log."""
    live = str(available.require_wg())
    available.require_engine(name)
    project.path("scenarios/bad.sh").write_text(WG)
    evidence = _collect_evidence(project, "--engine", name, "bad", ISOSMOKE_WG=live)["bad"]
    files = {
        change["path"].partition("/.wg/")[2]: change
        for change in evidence["changes"]
        if "/.wg/" in change["path"]
    }

    assert json.loads(files["service/state.json"]["text"])["pid"] > 0
    assert files["service/daemon.sock"]["kind"] == "socket"
    assert files["service/daemon.log"]["text"].strip()
    assert files["graph.jsonl"]["change"] == "added"
    assert evidence["missing"] == []
