"""The commands that examine one scenario, as their user runs them."""

import json
import signal
import subprocess
from pathlib import Path

import jsonschema
import pytest

from support import available, bisected
from support.bisected import Bisected
from support.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project with a good, a bad and a skipping scenario."""
    available.require_engine("bubblewrap")
    return Project.within(tmp_path)


def test_stress_measures_rate(project: Project) -> None:
    """A scenario that always fails has a rate of 1; its document follows the published schema."""
    done = project.run("stress", "bad", "--count", "4", "-j", "2", "--json")
    document = json.loads(done.stdout)

    assert done.returncode == 1, done.stderr
    assert document["rate"] == {"failed": 4, "runs": 4, "rate": 1.0, "low": 0.510109, "high": 1.0}
    assert document["groups"][0]["reason"] == "exit 3: broken"
    assert document["common"] == ["all 4 failures end with the same line: broken"]
    assert Path(document["groups"][0]["logs"][0]).read_text() == "broken\n"
    schema = json.loads(project.run("schema", "stress").stdout)
    jsonschema.validate(document, schema)
    assert json.loads((Path(document["record"]) / "stress.json").read_text()) == document


def test_stress_of_good_scenario_passes(project: Project) -> None:
    """Without a failure the exit code is 0, and the text has the upper bound of the rate."""
    done = project.run("stress", "good", "--count", "3", WG_AGENT_ID="agent-1")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("PASS good: none of 3 repetitions failed (95% interval 0% to 56")
    assert done.stderr == ""


def test_stress_of_skipped_scenario_is_no_success(project: Project) -> None:
    """A scenario that only skips was not measured."""
    done = project.run("stress", "skips", "--count", "2")

    assert done.returncode == 77
    assert "skips was skipped: exit 77: no network" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("missing",), 4, "no scenario is named 'missing'"),
        (("*",), 2, "selects 3 scenarios"),
        (("good", "--count", "0"), 2, "0 is not in the range"),
        (("good", "--for", "0s"), 2, "is not a duration"),
        (("good", "--for", "ten"), 2, "is not a duration"),
        (("good", "--for", "1s", "--count", "1"), 2, "cannot be combined"),
        (("good", "--binary", "/none"), 2, "no file at /none"),
    ],
)
def test_bad_request_of_stress_is_explained(
    project: Project, arguments: tuple[str, ...], code: int, message: str
) -> None:
    """Bad input ends with an error that says what is wrong; nothing is recorded."""
    done = project.run("stress", *arguments)

    assert done.returncode == code
    assert message in done.stderr
    assert not project.path(".isosmoke/stress").exists()


def start_stress(project: Project) -> "subprocess.Popen[str]":
    """Start a stress run without end, and return it once two repetitions have failed."""
    run = subprocess.Popen(
        project.command("stress", "bad", "--for", "9h", "-j", "1"),
        cwd=project.top,
        env=project.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    found = available.wait_for(
        lambda: [*project.top.glob(".isosmoke/stress/*/bad/output-3.log")], 60
    )
    assert found
    return run


def test_interrupt_of_stress_shows_partial_result(project: Project) -> None:
    """An interrupt ends the run with its result so far, and the record is complete."""
    run = start_stress(project)
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=60)

    assert run.returncode == 130
    assert "repetitions failed (100%" in output
    assert "stopped: SIGINT" in output
    (record,) = project.top.glob(".isosmoke/stress/*/stress.json")
    document = json.loads(record.read_text())
    assert document["finished"]
    assert document["rate"]["failed"] >= 2


def test_killed_stress_leaves_a_record(project: Project) -> None:
    """After `kill -9` the record has what was last written, and says that it is not finished."""
    run = start_stress(project)
    run.kill()
    run.communicate(timeout=60)

    (record,) = project.top.glob(".isosmoke/stress/*/stress.json")
    document = json.loads(record.read_text())
    assert not document["finished"]
    assert document["rate"]["failed"] >= 1
    assert project.run("stress", "good", "--count", "1").returncode == 0


def test_stress_without_room_is_refused(project: Project) -> None:
    """Without room for a binary or a record nothing runs, and the error says where."""
    limited = ["bash", "-c", 'ulimit -f 0; trap "" XFSZ; exec "$@"', "bash"]
    done = subprocess.run(
        [*limited, *project.command("stress", "good", "--count", "2", "--json")],
        cwd=project.top,
        env=project.environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 125
    assert "File too large" in done.stderr


def test_run_repeats_each_scenario(project: Project) -> None:
    """Each repetition has its own attempt, and the limit of failures ends all of them."""
    done = project.run(
        "run", "good", "bad", "--repeat", "3", "--max-fail", "2", "--json", "-j", "1"
    )
    good, bad = json.loads(done.stdout)["scenarios"]

    assert done.returncode == 1
    assert [attempt["repetition"] for attempt in bad["attempts"]] == [1, 2]
    assert [attempt["outcome"] for attempt in good["attempts"]] == ["PASS", "PASS"]


def test_flaky_scenario_is_found_in_records(project: Project) -> None:
    """A scenario with passes and failures of one binary is listed, until its script changes."""
    project.path("scenarios/good.sh").write_text("! grep -q 1 flag\n")
    for flag in "010":
        project.path("flag").write_text(flag)
        project.run("run", "good", "bad", "-j", "1")
    done = project.run("flaky", "--json")
    first, second = json.loads(done.stdout)["scenarios"]

    assert done.returncode == 0
    assert (first["name"], first["is_flaky"], first["rate"]["failed"]) == ("good", True, 1)
    assert (second["name"], second["is_flaky"], second["rate"]["failed"]) == ("bad", False, 3)
    assert project.run("flaky").stdout.startswith("good  1 of 3 failed (33.3%, 95% interval")
    project.path("scenarios/good.sh").write_text("true\n")
    project.run("run", "good")
    assert len(json.loads(project.run("flaky", "good", "--json").stdout)["scenarios"]) == 2
    assert project.run("flaky", "nothing").returncode == 4


def test_flaky_without_records_is_explained(project: Project) -> None:
    """Without a recorded run there is nothing to measure."""
    assert project.run("flaky").returncode == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--fail-fast", "--max-fail", "2"), "cannot be combined"),
        (("--repeat", "0"), "0 is not in the range"),
        (("--repeat", "1001"), "1001 is not in the range"),
        (("--repeat", "2", "--", "true"), "a command after -- runs once"),
        (("--retries", "1", "--", "true"), "a command after -- runs once"),
    ],
)
def test_bad_repetition_of_run_is_explained(
    project: Project, arguments: tuple[str, ...], message: str
) -> None:
    """A contradiction or a number out of range is a usage error."""
    done = project.run("run", *arguments)

    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.parametrize(("seed", "skips", "jobs"), [(3, 0.0, "2"), (5, 0.3, "2")])
def test_bisect_finds_first_bad_commit(tmp_path: Path, seed: int, skips: float, jobs: str) -> None:
    """The first bad commit is found by builds, and nothing remains but the record."""
    available.require_engine("bubblewrap")
    project = Bisected(tmp_path, seed, skips)
    before = project.describe()
    done = project.run(project.command("--jobs", jobs, "--json"))
    document = json.loads(done.stdout)

    assert done.returncode == (0 if document["first_bad"] else 1), done.stderr
    suspects = bisected.list_suspects(document)
    assert project.history.first_bad in suspects
    assert any(low <= suspects <= high for low, high in project.history.list_possible_results())
    assert document["confirmed"] is (True if document["first_bad"] else None)
    for tested in document["tested"]:
        assert tested["verdict"] == project.history.verdicts[tested["commit"]]
    assert project.describe() == before
    assert list(project.top.glob(".isosmoke/bisections/*/state.json")) == []


def test_bisect_takes_ready_made_binaries(tmp_path: Path) -> None:
    """Binaries that are named by revision need no build; a missing one is skipped."""
    available.require_engine("bubblewrap")
    project = Bisected(tmp_path, 3, 0.0)
    binaries = tmp_path / "binaries"
    binaries.mkdir()
    for commit, verdict in project.history.verdicts.items():
        (binaries / commit[:12]).write_text(f"#!/bin/sh\nexit {int(verdict == 'bad')}\n")
        (binaries / commit[:12]).chmod(0o755)
    done = project.run(project.bare_command("--binaries", str(binaries), "--json"))
    document = json.loads(done.stdout)

    assert done.returncode == 0, done.stderr
    assert document["first_bad"]["commit"] == project.history.first_bad
    (binaries / project.history.first_bad[:12]).unlink()
    done = project.run(project.bare_command("--binaries", str(binaries), "--json"))
    document = json.loads(done.stdout)
    assert done.returncode == 1, done.stderr
    assert project.history.first_bad in bisected.list_suspects(document)


def test_killed_bisect_continues(tmp_path: Path) -> None:
    """After `kill -9` the same command goes on with what it has, and removes its work trees."""
    available.require_engine("bubblewrap")
    project = Bisected(tmp_path, 3, 0.0)
    before = project.describe()
    run = subprocess.Popen(
        project.command(),
        cwd=project.top,
        env={**project.environment, "BUILD_SECONDS": "2"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert available.wait_for(lambda: len(project.builds.read_text().split()) >= 3, 120)
    finally:
        run.kill()
        run.wait()
    assert project.describe() != before  # there are work trees
    assert project.describe()[:3] == before[:3]

    first = len(project.builds.read_text().split())
    done = project.run(project.command("--json"))
    document = json.loads(done.stdout)

    assert done.returncode == 0, done.stderr
    assert "continuing after 2 commits" in done.stderr
    assert document["first_bad"]["commit"] == project.history.first_bad
    again = len(project.builds.read_text().split()) - first
    assert again == len(document["tested"]) - 2
    assert project.describe() == before


def test_interrupted_bisect_continues(tmp_path: Path) -> None:
    """An interrupt ends the builds in progress, and the same command goes on."""
    available.require_engine("bubblewrap")
    project = Bisected(tmp_path, 3, 0.0)
    run = subprocess.Popen(
        project.command("--json"),
        cwd=project.top,
        env={**project.environment, "BUILD_SECONDS": "3000"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert available.wait_for(project.builds.read_text, 120)
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=120)

    assert run.returncode == 130
    document = json.loads(output)
    assert (document["stopped"], document["first_bad"], document["tested"]) == ("SIGINT", None, [])
    done = project.run(project.command())
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"first bad: {project.history.first_bad}  commit ")


def test_wrong_range_of_bisect_is_explained(tmp_path: Path) -> None:
    """A good end that fails, a contradiction and a missing binary are errors, without remains."""
    available.require_engine("bubblewrap")
    project = Bisected(tmp_path, 3, 0.0)
    before = project.describe()
    history = project.history
    wrong = [
        (("--good", history.first_bad), 2, "--good "),
        (("--binaries", str(tmp_path)), 2, "pass one of --build and --binaries"),
        (("--binary", "/out"), 2, "is not inside a work tree"),
        (("--binary", "../out"), 2, "is not inside a work tree"),
        (("--jobs", "0"), 2, "0 is not in the range"),
        (("--good", "nowhere"), 2, "git knows no revision 'nowhere'"),
    ]
    for arguments, code, message in wrong:
        done = project.run(project.command(*arguments))
        assert (done.returncode, message in done.stderr) == (code, True), (arguments, done.stderr)
    assert project.describe() == before


PROVED = '[[scenario]]\nname = "one"\nscript = "scenarios/one.sh"\n'


@pytest.fixture
def proved(tmp_path: Path) -> Project:
    """Return a project whose scenario needs the answer `wg`, with a binary that gives another."""
    available.require_engine("bubblewrap")
    project = Project.within(tmp_path, PROVED)
    project.path("scenarios/one.sh").write_text(". scenarios/lib.sh\n[ $(wg) = wg ]\n")
    project.path("old").write_text("#!/bin/sh\necho old\n")
    project.path("old").chmod(0o755)
    return project


def test_proof_is_written(proved: Project) -> None:
    """A scenario that fails with one binary and passes with the other has a proof."""
    done = proved.run(
        *("prove", "one", "--broken", "old", "--fixed", "wg", "--output", "p.json", "--json")
    )
    document = json.loads(done.stdout)

    assert done.returncode == 0, done.stderr
    assert (document["proven"], document["broken"]["outcome"]) == (True, "FAIL")
    proof = json.loads(Path(document["proof"]).read_text())
    assert json.loads(proved.path("p.json").read_text()) == proof
    names = [item["name"] for item in proof["predicate"]["configuration"]]
    assert {"scenario one", "script scenarios/one.sh", "file scenarios/lib.sh"} <= set(names)
    assert proof["predicate"]["isosmoke"]["broken"]["run"] == document["broken"]["run"]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("true", "it does not notice"),
        ("wg; exit 77", "SKIP with the broken binary"),
        ("[ $(wg) = new ]", "FAIL with the fixed binary, which must pass"),
        ("[ $(wg) = wg ] || no-such-command", "could not be executed"),
        ("[ $(wg) = wg ] || sleep 600 &", "LEAK with the broken binary"),
    ],
)
def test_scenario_that_does_not_notice_is_not_proven(
    proved: Project, script: str, message: str
) -> None:
    """The reason is stated, the exit code is 1, and no proof is written."""
    proved.path("scenarios/one.sh").write_text(f"{script}\n")
    done = proved.run("prove", "one", "--broken", "old", "--fixed", "wg", WG_AGENT_ID="a")

    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("NOT PROVEN one")
    assert message in done.stdout
    assert not proved.path(".isosmoke/proofs").exists()


@pytest.mark.parametrize(
    ("broken", "fixed", "message"),
    [
        ("wg", "wg", "are the same binary"),
        ("missing", "wg", "--broken: no file at missing"),
        ("old", "manifest.toml", "--fixed: manifest.toml is not executable"),
    ],
)
def test_wrong_binary_of_proof_is_explained(
    proved: Project, broken: str, fixed: str, message: str
) -> None:
    """Two binaries are needed, and nothing runs without them."""
    done = proved.run("prove", "one", "--broken", broken, "--fixed", fixed)

    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert not proved.path(".isosmoke").exists()
