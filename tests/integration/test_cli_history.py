"""What the command line says of past runs, as a user asks it."""

import json
import os
import subprocess
from pathlib import Path
from pty import openpty

import pytest

from isosmoke.errors import ExitCode
from isosmoke.history import reader
from isosmoke.results.run_record import Header, RunRecord
from support import available
from support.project import BAD, GOOD, SKIPS, Project
from support.terminal_screen import program

SLOW = """
[[scenario]]
name = "slow"
script = "scenarios/slow.sh"
"""


@pytest.fixture(autouse=True)
def _engine() -> None:
    """Real runs are asked about."""
    available.engine("bubblewrap")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Three scenarios, of which one passes, one fails and one is skipped."""
    return Project.within(tmp_path)


def latest(project: Project) -> RunRecord:
    """The newest run."""
    return reader.find_run(None, project.top)


def test_runs_are_listed_newest_first(project: Project) -> None:
    """Each on a line with its id, the engine, the counts and the time it took."""
    project.run("run")
    project.run("run", "good")

    done = project.run("runs")

    newer, older = done.stdout.splitlines()
    assert done.returncode == ExitCode.OK
    assert newer.startswith(latest(project).id)
    assert "  1 PASS  in " in newer
    assert "  bubblewrap  1 PASS  1 SKIP  1 FAIL  in " in older


def test_runs_are_one_document(project: Project) -> None:
    """`--json` has the header of each run, as its own document has it."""
    run = json.loads(project.run("run", "--json").stdout)

    document = json.loads(project.run("runs", "--json").stdout)

    (header,) = document["runs"]
    assert document["schema_version"] == 1
    assert header == {key: run[key] for key in Header.model_fields}


def test_a_run_that_cannot_be_read_hides_no_other(project: Project) -> None:
    """It is named on stderr."""
    project.run("run", "good")
    project.run("run", "good")
    broken = Path(latest(project).record or "")
    (broken / "run.json").write_text("{")

    done = project.run("runs")

    assert len(done.stdout.splitlines()) == 1
    assert f"{broken}/run.json is invalid" in done.stderr


def test_nothing_recorded_is_no_success(project: Project) -> None:
    """Every question says what would make a run."""
    for words in (("show",), ("show", "bad"), ("logs", "bad"), ("history", "bad")):
        done = project.run(*words)
        assert done.returncode == ExitCode.NOTHING_SELECTED
        assert "isosmoke run" in done.stderr


def test_show_tells_a_run_again(project: Project) -> None:
    """As it ended, with how to repeat what failed."""
    ran = project.run("run")

    shown = project.run("show")

    counted = ran.stdout.splitlines()[-1]
    assert shown.stdout.splitlines()[-1] == counted
    assert "  because exit 3: broken\n" in shown.stdout
    again = next(one for one in shown.stdout.splitlines() if one.startswith("  repeat"))
    assert project.run(*again.split()[2:]).returncode == ExitCode.BLOCKED


def test_show_tells_a_scenario_whole(project: Project) -> None:
    """By its name alone, or within a run; the JSON is the run's, with that scenario only."""
    project.run("run")
    first = latest(project).id
    project.run("run", "good")

    assert project.run("show", "bad").stdout.startswith("FAIL bad\n")
    assert project.run("show", f"{first}/good").stdout.startswith("PASS good\n")
    document = json.loads(project.run("show", "bad", "--json").stdout)
    assert document["id"] == first
    assert [one["name"] for one in document["scenarios"]] == ["bad"]


def test_the_document_of_a_past_run_is_the_one_it_printed(project: Project) -> None:
    """`show --json` is what `run --json` was."""
    ran = project.run("run", "--json")

    assert json.loads(project.run("show", "--json").stdout) == json.loads(ran.stdout)


def test_a_slip_is_told_with_the_nearest_name(project: Project) -> None:
    """Of a scenario, for every question."""
    project.run("run", "good")

    for command in ("show", "logs", "history"):
        done = project.run(command, "goodd")
        assert done.returncode == ExitCode.NOTHING_SELECTED
        assert "did you mean 'good'?" in done.stderr


RAW = b"plain\x1b[2Jclear\r\xff\n"


def test_logs_are_raw_bytes_in_a_pipe(project: Project) -> None:
    """Byte by byte what the scenario printed, of the attempt that is asked for."""
    project.path("scenarios/bad.sh").write_text(r"printf 'plain\033[2Jclear\r\377\n'; exit 1")
    project.run("run", "bad")

    command = project.command("logs", "bad", "--attempt", "1")
    done = subprocess.run(
        command, cwd=project.top, env=project.environment(), capture_output=True, check=True
    )

    assert done.stdout == RAW
    missing = project.run("logs", "bad", "--attempt", "2")
    assert missing.returncode == ExitCode.NOTHING_SELECTED
    assert "the last attempt at bad is number 1" in missing.stderr


def test_logs_cannot_steer_a_terminal(project: Project) -> None:
    """Every control character is visible there."""
    project.path("scenarios/bad.sh").write_text(r"printf 'plain\033[2Jclear\r\377\n'; exit 1")
    project.run("run", "bad")
    ours, theirs = openpty()

    subprocess.run(
        project.command("logs", "bad"),
        cwd=project.top,
        env=project.environment(),
        stdout=theirs,
        check=True,
    )

    told = os.read(ours, 4096).decode()
    os.close(ours)
    os.close(theirs)
    assert told == "plain\\x1b[2Jclear\\r\N{REPLACEMENT CHARACTER}\r\n"


def test_what_was_not_tried_has_no_log(project: Project) -> None:
    """And says why it was not."""
    project.path("manifest.toml").write_text(GOOD + 'requires.commands = ["no-such-program"]\n')
    project.run("run")

    done = project.run("logs", "good")

    assert done.returncode == ExitCode.NOTHING_SELECTED
    assert "good has no log: SKIP" in done.stderr
    assert "no-such-program" in done.stderr


def test_history_tells_a_scenario_run_by_run(project: Project) -> None:
    """Newest first, with the binary that it was; runs without it are left out."""
    project.run("run", "bad")
    project.run("run", "good")
    project.path("scenarios/bad.sh").write_text("true")
    project.run("run", "bad")
    tested = latest(project).binary

    lines = project.run("history", "bad").stdout.splitlines()

    assert tested is not None
    assert [line.split()[0] for line in lines] == ["PASS", "FAIL"]
    assert all(tested.sha256[:12] in line for line in lines)
    assert lines[1].endswith("exit 3: broken")
    document = json.loads(project.run("history", "bad", "--json").stdout)
    assert [one["outcome"] for one in document["outcomes"]] == ["PASS", "FAIL"]
    assert document["outcomes"][0]["run"]["binary"]["sha256"] == tested.sha256


def test_a_killed_run_is_told_as_far_as_it_went(tmp_path: Path) -> None:
    """After SIGKILL its counts, its outcomes and its logs are there."""
    project = Project.within(tmp_path, GOOD + SLOW)
    project.killed_during("slow", "run", "-j", "1")

    (line,) = project.run("runs").stdout.splitlines()
    shown = project.run("show").stdout

    assert "1 PASS  1 NOT_RUN  in " in line
    assert line.endswith(", not finished")
    assert "slow  the run ended before this scenario" in shown
    assert project.run("logs", "good").stdout == "fine\n"


def ran(project: Project) -> dict[str, str]:
    """What came of each scenario of the newest run."""
    return {one.name: one.outcome for one in latest(project).scenarios}


def mend(project: Project, name: str) -> None:
    """Make a scenario pass from now on."""
    project.path(f"scenarios/{name}.sh").write_text("true\n")


def test_only_what_failed_last_is_run(project: Project) -> None:
    """Whichever run it failed in; once nothing does, that is said, with 0 and no new run."""
    project.run("run")
    project.run("run", "good")

    again = project.run("run", "--last-failed")
    assert (again.returncode, ran(project)) == (ExitCode.BLOCKED, {"bad": "FAIL"})
    mend(project, "bad")
    assert project.run("run", "--last-failed").returncode == ExitCode.OK
    before = latest(project).id

    done = project.run("run", "--last-failed")

    assert done.returncode == ExitCode.OK
    assert done.stdout == ""
    assert done.stderr == "isosmoke: nothing of that failed when it last ran\n"
    assert latest(project).id == before


def test_what_failed_last_is_listed_without_a_run(project: Project) -> None:
    """`list` narrows as `run` does, and names and owners narrow further."""
    project.run("run")

    assert project.run("list", "--last-failed").stdout.split()[0] == "bad"
    assert "nothing of that failed" in project.run("list", "good", "--last-failed").stderr
    assert project.run("list", "--owner", "task-b", "--last-failed").stdout.startswith("bad")


def test_nothing_failed_where_nothing_ran_is_no_success(project: Project) -> None:
    """Without a record there is nothing to say, and exit 4."""
    for words in (("--last-failed",), ("--rerun", "latest")):
        done = project.run("run", *words)
        assert done.returncode == ExitCode.NOTHING_SELECTED
        assert "no run is recorded" in done.stderr


def test_reruns_converge(tmp_path: Path) -> None:
    """After a kill: what was not run, then what failed, what is new, until nothing is left."""
    project = Project.within(tmp_path, GOOD + BAD + SLOW)
    project.killed_during("slow", "run", "-j", "1")
    killed = latest(project).id
    mend(project, "slow")

    project.run("run", "--rerun", killed)
    assert ran(project) == {"bad": "FAIL", "slow": "PASS"}
    assert latest(project).rerun_of == killed

    project.manifest.write_text(GOOD + BAD + SLOW + SKIPS)
    mend(project, "bad")
    project.run("run", "--rerun", "latest", "skips")
    assert ran(project) == {"skips": "SKIP"}

    project.run("run", "--rerun", "latest")
    assert ran(project) == {"bad": "PASS"}
    last = latest(project).id

    done = project.run("run", "--rerun", "latest")
    assert done.returncode == ExitCode.OK
    assert done.stderr == f"isosmoke: run {last} leaves nothing: all was run and passed\n"
    assert project.run("run", "--rerun", killed, "bad").returncode == ExitCode.OK
    assert ran(project) == {"bad": "PASS"}


def test_questions_about_past_runs_that_make_no_sense_are_refused(project: Project) -> None:
    """Two at once, with a command, or about the run of a command."""
    project.run("run", "--", "true")

    for words in (
        ("--last-failed", "--rerun", "latest"),
        ("--last-failed", "--", "true"),
        ("--rerun", "latest", "--", "true"),
        ("--rerun", "latest"),
    ):
        assert project.run("run", *words).returncode == ExitCode.USAGE


def test_runs_tell_a_command_and_a_rest(project: Project) -> None:
    """What ran in place of scripts, and whose rest a run was, are on its line."""
    project.run("run")
    project.run("run", "--rerun", "latest")
    project.run("run", "--", "sh", "-c", "exit 3")

    command, rest, first = project.run("runs").stdout.splitlines()

    assert command.endswith("  sh -c 'exit 3'")
    assert rest.endswith(f", rest of {first.split()[0]}")


@pytest.mark.parametrize("words", [("history", "bad"), ("runs",)], ids=" ".join)
def test_a_run_takes_one_row_of_a_terminal(project: Project, words: tuple[str, ...]) -> None:
    """What comes one below the other can be looked down; a pipe gets all of it."""
    project.path("scenarios/bad.sh").write_text(f"echo {'x' * 200} >&2\nexit 3\n")
    project.run("run", "--", "bash", "-c", f"echo {'x' * 200} >&2; exit 3")
    project.run("run", "bad")

    caller = {**project.environment(), "TERM": "dumb"}
    command = project.command(*words)
    with program(command, working=project.top, environment=caller) as (screen, process):
        process.wait()
        screen.clear()

    rows = screen.seen.decode().splitlines()
    assert max(map(len, rows)) <= 80
    assert len(rows) == len(project.run(*words).stdout.splitlines())
    assert "…" in rows[-1]
