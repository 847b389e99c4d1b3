"""`isosmoke teeth` on a planted suite, whose scenarios have known blind spots."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from support import available
from support.paths import TESTS
from support.project import Project

QUICK = ("absent", "fail", "noop", "replay", "mute", "lie", "stale", "orphan")
"""All sabotages except `hang`, which costs a deadline in each scenario that notices it."""

ALL_BUT_STALE = {
    "absent": "SURVIVED",
    **dict.fromkeys(("fail", "noop", "replay", "mute", "lie"), "IMPLIED"),
}

BLIND_SPOTS: dict[tuple[str, str], dict[str, str]] = {
    ("looks_only_at_output", "put"): {"replay": "SURVIVED"},
    ("looks_only_at_state", "put"): {"mute": "SURVIVED"},
    ("ignores_the_status", "put"): {"lie": "SURVIVED"},
    ("accepts_an_old_answer", "list"): {"stale": "SURVIVED"},
    ("skips_if_it_breaks", "put"): dict.fromkeys(("absent", "fail", "lie"), "ESCAPED"),
    ("always_passes", "put"): ALL_BUT_STALE,
    ("gives_up_waiting", "put"): ALL_BUT_STALE,
    ("looks_only_at_the_message_of_stop", "serve stop"): {"replay": "SURVIVED"},
}
"""The sabotages that each scenario does not notice; it notices all others."""

EQUIVALENT = {
    ("notices_everything", "check"): {"replay", "mute", "stale"},
    ("notices_everything", "list"): {"replay", "stale"},
    ("notices_everything", "put"): {"stale"},
}
"""The sabotages of the scenario without a blind spot that show no difference."""

UNNOTICED = {"SURVIVED", "IMPLIED", "ESCAPED"}


def create_project(directory: Path) -> Project:
    """Return a project with the planted suite and its program."""
    available.require_engine("bubblewrap")
    project = Project.within(directory)
    shutil.copytree(TESTS / "planted", project.top, dirs_exist_ok=True)
    shutil.copyfile(project.path("depot"), project.binary)
    return project


def measure(project: Project, *arguments: str) -> Any:
    """Return the document of a measurement that ends with 0."""
    done = project.run("teeth", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def select(*names: str) -> list[str]:
    """Return the options that select sabotages."""
    return [part for name in names for part in ("--sabotage", name)]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project that the tests of this module only read."""
    return create_project(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def document(planted: Project) -> Any:
    """Return the document of all quick sabotages of the planted suite."""
    return measure(planted, *select(*QUICK))


def collect(document: Any, verdicts: set[str]) -> dict[tuple[str, str], dict[str, str]]:
    """Return the cells with these verdicts, by scenario and subcommand."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for scenario in document["scenarios"]:
        for cell in scenario["cells"]:
            if cell["verdict"] in verdicts:
                cells = found.setdefault((scenario["name"], cell["subcommand"]), {})
                cells[cell["sabotage"]] = cell["verdict"]
    return found


def test_blind_spots_are_found_exactly(document: Any) -> None:
    """Each planted blind spot is found, and no other one."""
    assert collect(document, UNNOTICED) == BLIND_SPOTS
    assert {scenario["outcome"] for scenario in document["scenarios"]} == {"PASS"}
    assert collect(document, {"VOID", "ERROR"}) == {}
    assert not document["self_test_failed"]


def test_sabotages_without_a_difference_are_not_run(document: Any) -> None:
    """Replay of a call that only reads, and mute of a silent one, have no verdict to give."""
    cells = collect(document, {"EQUIVALENT"})
    names = {key: set(found) for key, found in cells.items() if key[0] == "notices_everything"}

    assert names == EQUIVALENT


def test_gaps_are_ranked(document: Any) -> None:
    """Subcommands of which nothing is tested come first, then the stronger sabotage."""
    gaps = document["gaps"]

    assert {gap["scenario"] for gap in gaps[:2]} == {"always_passes", "gives_up_waiting"}
    assert [gap["pseudo_tested"] for gap in gaps] == [True, True, *[False] * (len(gaps) - 2)]
    (stop,) = [gap for gap in gaps if gap["subcommand"] == "serve stop"]
    assert stop["sentence"] == "passes although `wg serve stop` only prints its message"


def test_left_process_is_found(document: Any) -> None:
    """A process that a sabotage leaves is reported as a leak in every scenario."""
    cells = [
        cell
        for scenario in document["scenarios"]
        for cell in scenario["cells"]
        if cell["sabotage"] == "orphan"
    ]

    assert {(cell["verdict"], cell["outcome"]) for cell in cells} == {("BITES", "LEAK")}


def test_hang(planted: Project) -> None:
    """A call that never ends is noticed by its deadline, unless the scenario gives up first."""
    names = ("gives_up_waiting", "looks_only_at_output")
    found = measure(planted, *names, *select("hang"), "--fresh")

    assert collect(found, {"SURVIVED"}) == {("gives_up_waiting", "put"): {"hang": "SURVIVED"}}
    assert collect(found, {"BITES"}) == {("looks_only_at_output", "put"): {"hang": "BITES"}}


def test_only_changed_scenarios_run_again(tmp_path: Path) -> None:
    """A second measurement runs nothing; after a change of a script it runs that scenario."""
    project = create_project(tmp_path)
    names = ("looks_only_at_output", "looks_only_at_state")
    first = measure(project, *names, *select("replay", "mute"))
    second = measure(project, *names, *select("replay", "mute"))
    with project.path("scenarios/looks_only_at_state.sh").open("a") as script:
        script.write("[ -s names ]\n")
    third = measure(project, *names, *select("replay", "mute"))

    assert (first["runs"], first["reused"]) == (4, 0)
    assert (second["runs"], second["reused"]) == (0, 4)
    assert (third["runs"], third["reused"]) == (2, 2)
    assert collect(second, UNNOTICED) == collect(first, UNNOTICED) == collect(third, UNNOTICED)


def test_budget_takes_a_sample(tmp_path: Path) -> None:
    """A budget that is used up leaves cells out, and the document and the text say so."""
    project = create_project(tmp_path)
    options = ("always_passes", *select("replay", "mute"), "--budget", "0s", "--seed", "7")
    found = measure(project, *options)
    text = project.run("teeth", *options).stdout

    assert found["sample"] == {"seed": 7, "cells_left_out": 2}
    assert found["runs"] == 0
    assert "a sample (seed 7): the budget left out 2 sabotages" in text


def test_older_binary_is_noticed(tmp_path: Path) -> None:
    """One subcommand at a time is that of another binary; a difference is noticed or not."""
    project = create_project(tmp_path)
    older = project.path("older")
    older.write_text(project.binary.read_text().replace("stored $1", "saved $1"))
    older.chmod(0o755)
    names = ("looks_only_at_output", "looks_only_at_state")
    found = measure(project, *names, *select("mute"), "--against", "older")

    assert collect(found, {"BITES"}) == {
        ("looks_only_at_output", "put"): {"against": "BITES", "mute": "BITES"}
    }
    assert collect(found, {"SURVIVED"}) == {
        ("looks_only_at_state", "put"): {"against": "SURVIVED", "mute": "SURVIVED"}
    }


def test_scenario_that_fails_with_the_real_binary_is_not_measured(tmp_path: Path) -> None:
    """A scenario that fails anyway has no cells, and the exit code says that it fails."""
    project = create_project(tmp_path)
    project.path("scenarios/looks_only_at_output.sh").write_text("wg put x\nexit 3\n")
    done = project.run("teeth", "looks_only_at_output", "--json")

    assert done.returncode == 1
    (scenario,) = json.loads(done.stdout)["scenarios"]
    assert (scenario["outcome"], scenario["cells"]) == ("FAIL", [])


def test_declared_teeth_are_checked(tmp_path: Path) -> None:
    """A subcommand that an entry declares has to be noticed, or the command ends with 1."""
    project = create_project(tmp_path)
    text = project.manifest.read_text()
    for name in ("looks_only_at_state", "looks_only_at_output"):
        line = f'name = "{name}"'
        text = text.replace(f"{line}\n", f'{line}\nteeth = ["put"]\n')
    project.manifest.write_text(text)
    options = ("looks_only_at_*", "-E", "not name(looks_only_at_the_message_of_stop)")
    done = project.run("teeth", *options, *select("noop", "replay", "lie"))

    assert done.returncode == 1
    toothless = [line for line in done.stdout.splitlines() if line.startswith("TOOTHLESS")]
    assert toothless == ["TOOTHLESS looks_only_at_output: teeth in the manifest names `wg put`"]


def test_report_for_an_agent_is_short(tmp_path: Path) -> None:
    """A coding agent gets what to fix and the totals, without the matrix."""
    project = create_project(tmp_path)
    done = project.run(
        "teeth", "looks_only_at_output", *select("replay"), "--html", "p.html", CLAUDECODE="1"
    )

    assert done.returncode == 0
    blank, heading, gap, totals = done.stdout.splitlines()
    assert (blank, heading) == ("", "fix first:")
    assert gap.strip() == "looks_only_at_output: passes although `wg put` only prints its message"
    assert totals.startswith("1 sabotaged runs, 0 reused")
    assert "passes although `wg put` only prints its message" in project.path("p.html").read_text()


def test_measurement_leaves_no_record(planted: Project, document: Any) -> None:
    """A measurement is no run of the project: the history of its scenarios is unchanged."""
    assert document["runs"]
    assert not planted.path(".isosmoke").exists()
