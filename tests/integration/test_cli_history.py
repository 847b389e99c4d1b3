"""The commands about past runs, and the options that select by past outcomes."""

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
    """Skip the module if bubblewrap is unavailable: the tests need real runs."""
    available.require_engine("bubblewrap")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project whose three scenarios pass, fail and are skipped."""
    return Project.within(tmp_path)


def load_latest(project: Project) -> RunRecord:
    """Return the newest run."""
    return reader.find_run(None, project.top)


def test_runs_are_listed_newest_first(project: Project) -> None:
    """Each line has the id, the engine, the counts and the duration of a run."""
    project.run("run")
    project.run("run", "good")

    done = project.run("runs")

    newer, older = done.stdout.splitlines()
    assert done.returncode == ExitCode.OK
    assert newer.startswith(load_latest(project).id)
    assert "  1 PASS  in " in newer
    assert "  bubblewrap  1 PASS  1 SKIP  1 FAIL  in " in older


def test_runs_json_has_the_header_of_each_run(project: Project) -> None:
    """`runs --json` has the same header of a run as `run --json`."""
    run = json.loads(project.run("run", "--json").stdout)

    document = json.loads(project.run("runs", "--json").stdout)

    (header,) = document["runs"]
    assert document["schema_version"] == 1
    assert header == {key: run[key] for key in Header.__dataclass_fields__}


def test_unreadable_run_hides_no_other(project: Project) -> None:
    """An unreadable run is named on stderr, and the other runs are listed."""
    project.run("run", "good")
    project.run("run", "good")
    broken = Path(load_latest(project).record or "")
    (broken / "run.json").write_text("{")

    done = project.run("runs")

    assert len(done.stdout.splitlines()) == 1
    assert f"{broken}/run.json is invalid" in done.stderr


def test_missing_record_is_an_error(project: Project) -> None:
    """Without a recorded run, every command hints at `isosmoke run`."""
    for arguments in (("show",), ("show", "bad"), ("logs", "bad"), ("history", "bad")):
        done = project.run(*arguments)
        assert done.returncode == ExitCode.NOTHING_SELECTED
        assert "isosmoke run" in done.stderr


def test_show_prints_the_newest_run(project: Project) -> None:
    """`show` prints the summary and the repeat lines of the newest run."""
    done = project.run("run")

    shown = project.run("show")

    counts = done.stdout.splitlines()[-1]
    assert shown.stdout.splitlines()[-1] == counts
    assert "  because exit 3: broken\n" in shown.stdout
    repeat = next(line for line in shown.stdout.splitlines() if line.startswith("  repeat"))
    assert project.run(*repeat.split()[2:]).returncode == ExitCode.BLOCKED


def test_show_prints_one_scenario(project: Project) -> None:
    """A scenario is selected by name or by run and name; the JSON has that scenario only."""
    project.run("run")
    first = load_latest(project).id
    project.run("run", "good")

    assert project.run("show", "bad").stdout.startswith("FAIL bad\n")
    assert project.run("show", f"{first}/good").stdout.startswith("PASS good\n")
    document = json.loads(project.run("show", "bad", "--json").stdout)
    assert document["id"] == first
    assert [entry["name"] for entry in document["scenarios"]] == ["bad"]


def test_show_json_equals_run_json(project: Project) -> None:
    """`show --json` prints the same document as `run --json`."""
    done = project.run("run", "--json")

    assert json.loads(project.run("show", "--json").stdout) == json.loads(done.stdout)


def test_misspelled_name_gets_a_suggestion(project: Project) -> None:
    """Each command suggests the most similar name of a scenario."""
    project.run("run", "good")

    for command in ("show", "logs", "history"):
        done = project.run(command, "goodd")
        assert done.returncode == ExitCode.NOTHING_SELECTED
        assert "did you mean 'good'?" in done.stderr


RAW = b"plain\x1b[2Jclear\r\xff\n"


def test_logs_are_raw_bytes_in_a_pipe(project: Project) -> None:
    """In a pipe the log of the given attempt is printed byte for byte."""
    project.path("scenarios/bad.sh").write_text(r"printf 'plain\033[2Jclear\r\377\n'; exit 1")
    project.run("run", "bad")

    command = project.command("logs", "bad", "--attempt", "1")
    done = subprocess.run(
        command, cwd=project.top, env=project.environment(), capture_output=True, check=True
    )

    assert done.stdout == RAW
    missing = project.run("logs", "bad", "--attempt", "2")
    assert missing.returncode == ExitCode.NOTHING_SELECTED
    assert "bad has no attempt 2; the last attempt is number 1" in missing.stderr


def test_logs_are_escaped_on_a_terminal(project: Project) -> None:
    """On a terminal every control character is escaped."""
    project.path("scenarios/bad.sh").write_text(r"printf 'plain\033[2Jclear\r\377\n'; exit 1")
    project.run("run", "bad")
    controller, terminal = openpty()

    subprocess.run(
        project.command("logs", "bad"),
        cwd=project.top,
        env=project.environment(),
        stdout=terminal,
        check=True,
    )

    output = os.read(controller, 4096).decode()
    os.close(controller)
    os.close(terminal)
    assert output == "plain\\x1b[2Jclear\\r\N{REPLACEMENT CHARACTER}\r\n"


def test_skipped_scenario_has_no_log(project: Project) -> None:
    """The error about a missing log names the reason of the skip."""
    project.path("manifest.toml").write_text(GOOD + 'requires.commands = ["no-such-program"]\n')
    project.run("run")

    done = project.run("logs", "good")

    assert done.returncode == ExitCode.NOTHING_SELECTED
    assert "good has no log: SKIP" in done.stderr
    assert "no-such-program" in done.stderr


def test_history_lists_outcomes_newest_first(project: Project) -> None:
    """`history` lists outcome and binary of each run that includes the scenario."""
    project.run("run", "bad")
    project.run("run", "good")
    project.path("scenarios/bad.sh").write_text("true")
    project.run("run", "bad")
    binary = load_latest(project).binary

    lines = project.run("history", "bad").stdout.splitlines()

    assert binary is not None
    assert [line.split()[0] for line in lines] == ["PASS", "FAIL"]
    assert all(binary.sha256[:12] in line for line in lines)
    assert lines[1].endswith("exit 3: broken")
    document = json.loads(project.run("history", "bad", "--json").stdout)
    assert [entry["outcome"] for entry in document["outcomes"]] == ["PASS", "FAIL"]
    assert document["outcomes"][0]["run"]["binary"]["sha256"] == binary.sha256


def test_killed_run_is_shown_up_to_its_end(tmp_path: Path) -> None:
    """After SIGKILL the counts, outcomes and logs so far are available."""
    project = Project.within(tmp_path, GOOD + SLOW)
    project.kill_during("slow", "run", "-j", "1", recorded=["good"])

    (line,) = project.run("runs").stdout.splitlines()
    shown = project.run("show").stdout

    assert "1 PASS  1 NOT_RUN  in " in line
    assert line.endswith(", not finished")
    assert "slow  the run ended before this scenario" in shown
    assert project.run("logs", "good").stdout == "fine\n"


def read_outcomes(project: Project) -> dict[str, str]:
    """Return the outcome of each scenario of the newest run."""
    return {scenario.name: scenario.outcome for scenario in load_latest(project).scenarios}


def fix(project: Project, name: str) -> None:
    """Replace the script of a scenario by one that passes."""
    project.path(f"scenarios/{name}.sh").write_text("true\n")


def test_last_failed_runs_only_failures(project: Project) -> None:
    """`--last-failed` considers every run; without failures it exits 0 and runs nothing."""
    project.run("run")
    project.run("run", "good")

    rerun = project.run("run", "--last-failed")
    assert (rerun.returncode, read_outcomes(project)) == (ExitCode.BLOCKED, {"bad": "FAIL"})
    fix(project, "bad")
    assert project.run("run", "--last-failed").returncode == ExitCode.OK
    before = load_latest(project).id

    done = project.run("run", "--last-failed")

    assert done.returncode == ExitCode.OK
    assert done.stdout == ""
    assert done.stderr == "isosmoke: no selected scenario failed in its last run\n"
    assert load_latest(project).id == before


def test_list_accepts_last_failed(project: Project) -> None:
    """`list --last-failed` selects as `run` does, and combines with names and owners."""
    project.run("run")

    assert project.run("list", "--last-failed").stdout.split()[0] == "bad"
    assert "no selected scenario failed" in project.run("list", "good", "--last-failed").stderr
    assert project.run("list", "--owner", "task-b", "--last-failed").stdout.startswith("bad")


def test_past_options_require_a_recorded_run(project: Project) -> None:
    """Without a recorded run, `--last-failed` and `--rerun` exit 4."""
    for options in (("--last-failed",), ("--rerun", "latest")):
        done = project.run("run", *options)
        assert done.returncode == ExitCode.NOTHING_SELECTED
        assert "no run is recorded" in done.stderr


def test_reruns_converge(tmp_path: Path) -> None:
    """Reruns of a killed run cover unrun, failed and new scenarios until none remains."""
    project = Project.within(tmp_path, GOOD + BAD + SLOW)
    project.kill_during("slow", "run", "-j", "1", recorded=["good", "bad"])
    killed = load_latest(project).id
    fix(project, "slow")

    project.run("run", "--rerun", killed)
    assert read_outcomes(project) == {"bad": "FAIL", "slow": "PASS"}
    assert load_latest(project).rerun_of == killed

    project.manifest.write_text(GOOD + BAD + SLOW + SKIPS)
    fix(project, "bad")
    project.run("run", "--rerun", "latest", "skips")
    assert read_outcomes(project) == {"skips": "SKIP"}

    project.run("run", "--rerun", "latest")
    assert read_outcomes(project) == {"bad": "PASS"}
    last = load_latest(project).id

    done = project.run("run", "--rerun", "latest")
    assert done.returncode == ExitCode.OK
    assert done.stderr == (
        f"isosmoke: nothing remains to rerun from run {last}: all scenarios ran and passed\n"
    )
    assert project.run("run", "--rerun", killed, "bad").returncode == ExitCode.OK
    assert read_outcomes(project) == {"bad": "PASS"}


def test_invalid_combinations_of_past_options_are_refused(project: Project) -> None:
    """Past options exclude each other, a command, and the run of a command."""
    project.run("run", "--", "true")

    for options in (
        ("--last-failed", "--rerun", "latest"),
        ("--last-failed", "--", "true"),
        ("--rerun", "latest", "--", "true"),
        ("--rerun", "latest"),
    ):
        assert project.run("run", *options).returncode == ExitCode.USAGE


def test_runs_shows_commands_and_reruns(project: Project) -> None:
    """The line of a run names its command, or the run that it reruns."""
    project.run("run")
    project.run("run", "--rerun", "latest")
    project.run("run", "--", "sh", "-c", "exit 3")

    command, rerun, first = project.run("runs").stdout.splitlines()

    assert command.endswith("  sh -c 'exit 3'")
    assert rerun.endswith(f", rerun of {first.split()[0]}")


@pytest.mark.parametrize("arguments", [("history", "bad"), ("runs",)], ids=" ".join)
def test_run_fits_one_row_of_a_terminal(project: Project, arguments: tuple[str, ...]) -> None:
    """On a terminal rows are truncated to its width; in a pipe they are complete."""
    project.path("scenarios/bad.sh").write_text(f"echo {'x' * 200} >&2\nexit 3\n")
    project.run("run", "--", "bash", "-c", f"echo {'x' * 200} >&2; exit 3")
    project.run("run", "bad")

    environment = {**project.environment(), "TERM": "dumb"}
    command = project.command(*arguments)
    with program(command, working=project.top, environment=environment) as (screen, process):
        process.wait()
        screen.clear()

    rows = screen.seen.decode().splitlines()
    assert max(map(len, rows)) <= 80
    assert len(rows) == len(project.run(*arguments).stdout.splitlines())
    assert "…" in rows[-1]


COLOURS = """
[[scenario]]
name = "paints"
script = "scenarios/paints.sh"
pass_env = ["TOKEN"]
"""


def test_page_has_what_the_directories_of_the_runs_add(tmp_path: Path) -> None:
    """It shows the line of the script without secrets, the whole log, and earlier outcomes."""
    project = Project.within(tmp_path, COLOURS)
    script = project.path("scenarios/paints.sh")
    script.write_text(
        "for at in {1..40}; do echo line $at; done\n# hunter2secret\nfalse_command\nexit 9\n"
    )
    token = {"TOKEN": "hunter2secret"}
    project.run("run", **token)
    project.run("run", "--report", "html=at-once.html", **token)
    later = project.run("report", "--as", "html", **token).stdout
    unknown = project.run("report", "--as", "html").stdout
    script.write_text("exit 1\n")
    changed = project.run("report", "--as", "html", **token).stdout

    for page in (project.path("at-once.html").read_text(), later):
        assert '<span class="line hit" data-number="3">false_command' in page
        assert "# [redacted TOKEN]" in page
        assert "line 1\nline 2\n" in page
        assert "last 2 outcomes: 2 FAIL" in page
    assert "hunter2" not in later
    assert 'class="line hit"' not in unknown
    assert "has changed since this run" in changed
