"""What a run leaves to look at, through the command line: recorded, hinted at, shown."""

import json
from pathlib import Path
from typing import Any

import pytest

from support import available
from support.project import BAD, GOOD, Project

WRITES = "echo found >~/note; exit 3\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with a scenario that passes and one that writes a file and fails."""
    made = Project.within(tmp_path, GOOD + BAD)
    made.path("scenarios/bad.sh").write_text(WRITES)
    made.path("scenarios/good.sh").write_text("echo found >~/note\n")
    return made


def _evidence(project: Project, *words: str, **more: str) -> dict[str, Any]:
    """The evidence of each scenario of a run, by name."""
    done = project.run("run", "--json", *words, **more)
    assert done.returncode in (0, 1), done.stderr
    told = json.loads(done.stdout)["scenarios"]
    return {one["name"]: one["attempts"][0]["evidence"] for one in told}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), {"good": False, "bad": True}),
        (("--evidence", "always"), {"good": True, "bad": True}),
        (("--evidence", "never"), {"good": False, "bad": False}),
    ],
    ids=["by default", "always", "never"],
)
def test_run_keeps_evidence_as_it_is_told(
    project: Project, words: tuple[str, ...], expected: dict[str, bool]
) -> None:
    """By default of what fails; with the option of all, or of nothing."""
    available.engine("bubblewrap")
    kept = _evidence(project, "--jobs", "1", *words)

    assert {name: one is not None for name, one in kept.items()} == expected
    home = project.top.parent / "home"
    for one in filter(None, kept.values()):
        assert [(change["path"], change["text"]) for change in one["changes"]] == [
            (f"{home}/note", "found\n")
        ]
        assert one["usage"]["largest"] > 0


def test_report_says_what_shows_it(project: Project) -> None:
    """The command that a failure names shows the file that the scenario wrote."""
    available.engine("bubblewrap")
    done = project.run("run", "--report", "console", "bad")
    details = next(line for line in done.stdout.splitlines() if line.startswith("  details"))
    count, _, command = details.removeprefix("  details").strip().partition(": ")
    shown = project.run(*command.split()[1:])

    assert count == "1 change"
    assert "  added   " in shown.stdout
    assert "  │ found" in shown.stdout.splitlines()


def test_what_a_file_holds_is_shown_by_a_pattern(project: Project) -> None:
    """The end of a path is enough; what fits nothing, or no scenario, is refused with the way."""
    available.engine("bubblewrap")
    project.run("run", "bad")
    shown = project.run("show", "bad", "--file", "note")
    nothing = project.run("show", "bad", "--file", "*.log")
    no_scenario = project.run("show", "--file", "note")

    assert [line for line in shown.stdout.splitlines() if "│" in line] == ["  │ found"]
    assert len(shown.stdout.splitlines()) == 2
    assert nothing.returncode == 4
    assert "/bad lists it" in nothing.stderr
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


@pytest.mark.parametrize("name", available.NAMES)
def test_state_of_a_wg_service_is_found(name: str, project: Project) -> None:
    """Who looks at a failure of wg finds its graph, its service's state, its socket and its log."""
    live = str(available.wg())
    available.engine(name)
    project.path("scenarios/bad.sh").write_text(WG)
    kept = _evidence(project, "--engine", name, "bad", ISOSMOKE_WG=live)["bad"]
    of_wg = {
        one["path"].partition("/.wg/")[2]: one for one in kept["changes"] if "/.wg/" in one["path"]
    }

    assert json.loads(of_wg["service/state.json"]["text"])["pid"] > 0
    assert of_wg["service/daemon.sock"]["kind"] == "socket"
    assert of_wg["service/daemon.log"]["text"].strip()
    assert of_wg["graph.jsonl"]["change"] == "added"
    assert kept["missing"] == []
