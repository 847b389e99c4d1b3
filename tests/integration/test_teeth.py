"""`isosmoke teeth` on a planted suite, whose scenarios have known blind spots."""

import json
import shutil
import socket
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from isosmoke.gate.proofs.teeth_cells import Sabotage
from isosmoke.interrupt import Interrupt
from isosmoke.manifest import loader, selection
from isosmoke.results.events import Event, ScenarioFinished
from isosmoke.teeth import measurement
from isosmoke.teeth.measurement import MeasurementSettings
from support import available
from support.paths import TESTS
from support.project import GOOD, Project

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


DOCKER = ("noop", "replay", "mute", "lie")
"""The sabotages that are enough to find each blind spot but one on another engine."""


def test_blind_spots_are_the_same_on_docker(tmp_path: Path) -> None:
    """In containers the calls are recorded and sabotaged as well, and nothing else survives."""
    available.require_engine("docker")
    project = create_project(tmp_path)
    found = measure(project, "--engine", "docker", *select(*DOCKER))
    expected = {key: set(cells).intersection(DOCKER) for key, cells in BLIND_SPOTS.items()}

    assert {key: set(cells) for key, cells in collect(found, UNNOTICED).items()} == {
        key: cells for key, cells in expected.items() if cells
    }
    assert collect(found, {"VOID", "ERROR"}) == {}
    same = collect(found, {"EQUIVALENT"})["notices_everything", "list"]
    assert same == {"replay": "EQUIVALENT"}


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


def test_edit_during_a_measurement_is_not_measured(tmp_path: Path) -> None:
    """All runs are of the script that was hashed, also if it is weakened after the first one."""
    project = create_project(tmp_path)
    script = project.path("scenarios/looks_only_at_state.sh")
    manifest = loader.load(project.manifest)
    settings = MeasurementSettings(
        manifest=manifest,
        scenarios=selection.select(manifest.scenarios, ("looks_only_at_state",)),
        sabotages=(Sabotage.NOOP, Sabotage.REPLAY),
        binary=str(project.binary),
        engine="bubblewrap",
        jobs=1,
    )

    def weaken(event: Event) -> None:
        if isinstance(event, ScenarioFinished):
            script.write_text("wg put apple\nexit 0\n")

    measured = measurement.measure(
        settings, project.create_caller(), notify=weaken, interrupt=Interrupt()
    )

    assert script.read_text() == "wg put apple\nexit 0\n"
    assert [cell.verdict.value for cell in measured.rows[0].cells] == ["BITES", "BITES"]


def test_budget_takes_a_sample(planted: Project) -> None:
    """A budget that is used up leaves cells out, and the document and the text say so.

    Two of three subcommands are sabotaged at once before it is looked at again.
    """
    sample = ("-j", "1", "--budget", "0.001s", "--seed", "7", "--fresh")
    options = ("notices_everything", *select("replay", "mute"), *sample)
    found = measure(planted, *options)
    text = planted.run("teeth", *options).stdout

    assert found["sample"] == {"seed": 7, "cells_left_out": 2}
    assert "a sample (seed 7): the budget left out 2 sabotages" in text


def test_budget_is_a_duration(planted: Project) -> None:
    """A number without a unit is refused, as for any other duration."""
    done = planted.run("teeth", "--budget", "60")

    assert done.returncode == 2
    assert "'60' is not a duration: write 30s, 10m or 2h" in done.stderr


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
    assert toothless == [
        (
            "TOOTHLESS looks_only_at_output: passes although `wg put` only prints its message "
            "(replay SURVIVED)"
        )
    ]


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
    page = project.path("p.html").read_text()
    assert "passes although <code>wg put</code> only prints its message" in page


TWO_CALLS = """set -e
store() {
    wg put "$1"
}
store apple
store pear >/dev/null
grep -q pear names
"""


UNSTABLE = """
exec 3<>/dev/tcp/127.0.0.1/{port}
read -r -u 3 word
test "$word" = go || exit 1
wg put crate
test "$(wg list)" = crate
"""


def test_run_that_ends_before_the_sabotaged_call_is_repeated(tmp_path: Path) -> None:
    """A scenario that fails once, for another reason, has the verdict of the next run.

    Of the five runs, the first two sabotage nothing, and the next one ends before any call.
    """
    project = create_project(tmp_path)
    words = deque([b"go\n", b"go\n", b"stop\n", b"go\n", b"go\n"])

    def answer(server: socket.socket) -> None:
        while words:
            connection, _ = server.accept()
            with connection:
                connection.sendall(words.popleft())

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(120)
        script = UNSTABLE.format(port=server.getsockname()[1])
        project.path("scenarios/good.sh").write_text(script)
        project.manifest.write_text(GOOD)
        with ThreadPoolExecutor(1) as pool:
            answering = pool.submit(answer, server)
            document = measure(project, *select("noop"), "--pattern", "put")
            answering.result()

    cells = {cell["subcommand"]: cell["verdict"] for cell in document["scenarios"][0]["cells"]}
    assert cells == {"put": "BITES", "list": "BITES"}


def test_survivor_is_explained(tmp_path: Path) -> None:
    """Each call is sabotaged alone; the one that is not noticed has the line of the script."""
    project = create_project(tmp_path)
    project.path("scenarios/looks_only_at_state.sh").write_text(TWO_CALLS)
    options = ("looks_only_at_state", *select("mute"), "--explain", "put")
    found = measure(project, *options)
    text = project.run("teeth", *options).stdout

    assert [(call["line"], call["verdict"]) for call in found["calls"]] == [
        (3, "SURVIVED"),
        (3, "EQUIVALENT"),
    ]
    first = found["calls"][0]
    assert (first["argv"][1:], first["text"]) == (["put", "apple"], 'wg put "$1"')
    assert [place["line"] for place in first["outer"]] == [5]
    assert text.splitlines()[0] == "looks_only_at_state: passes although `wg put` prints nothing"
    assert '    scenarios/looks_only_at_state.sh:3: wg put "$1"' in text
    assert "it does not notice if `wg put` prints nothing in call 1 (line 5)" in text


NOTHING_TO_EXPLAIN = {
    "no survivor": (("notices_everything", "--explain", "put"), "there is no survivor"),
    "no such call": (("always_passes", "--explain", "pit"), "did you mean 'put'?"),
    "unknown name": (("always_pass", "--explain", "put"), "always_pass"),
    "two scenarios": (("looks_*", "--explain", "put"), "--explain needs one scenario"),
    "a page": (("always_passes", "--explain", "put", "--html", "x"), "cannot be combined"),
}


@pytest.mark.parametrize("case", NOTHING_TO_EXPLAIN)
def test_nothing_to_explain(planted: Project, case: str) -> None:
    """The error says what is missing, and a document is not printed."""
    arguments, message = NOTHING_TO_EXPLAIN[case]
    done = planted.run("teeth", *arguments, *select("noop"), "--json")

    assert done.returncode == (4 if case == "unknown name" else 2), done.stderr
    assert message in done.stderr
    assert done.stdout == ""


def test_measurement_leaves_no_record(planted: Project, document: Any) -> None:
    """A measurement is no run of the project: the history of its scenarios is unchanged."""
    assert document["runs"]
    assert not planted.path(".isosmoke/runs").exists()


def test_report_has_the_newest_measurement(tmp_path: Path) -> None:
    """The HTML report of a later run shows what to fix first, and whether a script has changed."""
    project, name = create_project(tmp_path), "looks_only_at_output"
    measure(project, name, "--sabotage", "replay")
    run = ("run", name, "--report", "html=-", "-q")

    page = project.run(*run).stdout
    assert f"<li>{name}: passes although <code>wg put</code> only prints its message</li>" in page
    assert '<b class="stale">stale</b>' not in page
    script = project.top / "scenarios" / f"{name}.sh"
    script.write_text(f"{script.read_text()}\ntrue\n")
    assert '<b class="stale">stale</b>' in project.run(*run).stdout


DAEMON = """
[[scenario]]
name = "leaves_a_daemon"
script = "scenarios/leaves_a_daemon.sh"
leaks = { allow = [{ command = "^sleep", reason = "the service is left on purpose" }] }
"""


def test_process_that_a_scenario_allows_is_no_leak_of_the_stand_in(tmp_path: Path) -> None:
    """A service that holds an output of its call keeps a process of the stand-in."""
    project = create_project(tmp_path)
    project.binary.write_text("#!/bin/sh\nsleep 1000 &\necho started >>log\n")
    project.manifest.write_text(DAEMON)
    project.path("scenarios/leaves_a_daemon.sh").write_text(
        "wg serve >out && grep -q started log\n"
    )
    document = measure(project, *select("noop"))

    (scenario,) = document["scenarios"]
    assert (scenario["outcome"], scenario["cells"][0]["verdict"]) == ("PASS", "BITES")
