"""The option `--report` and the command `isosmoke report`: kinds and files of reports."""

import errno
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest

from isosmoke.cli import report_files, reporting
from isosmoke.cli.reporting import Report, ReportChoice
from isosmoke.errors import ExitCode, UsageError
from isosmoke.reports import github
from support import available
from support.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project with scenarios that pass, fail and are skipped."""
    available.require_engine("bubblewrap")
    return Project.within(tmp_path)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], ReportChoice()),
        (["agent"], ReportChoice("agent")),
        (["console", "console"], ReportChoice("console")),
        (
            ["junit=a=b.xml", "github", "agent"],
            ReportChoice("agent", (Report("junit", "a=b.xml"), Report("github"))),
        ),
        (["json=-", "json=-"], ReportChoice(None, (Report("json", "-"),), stdout_taken=True)),
    ],
)
def test_report_values_are_parsed(values: list[str], expected: ReportChoice) -> None:
    """The display and the reports are set by one option, and duplicates count once."""
    assert reporting.parse_reports(values) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["junti=x"], "did you mean 'junit'"),
        (["junit"], "requires a file"),
        (["html="], "requires a file"),
        (["github=x"], "takes no file"),
        (["agent="], "takes no file"),
        (["agent", "console"], "cannot be combined"),
        (["junit=x", "html=x"], "two documents would be written to x"),
        (["junit=-", "html=-"], "two documents would be written to stdout"),
        ([""], "unknown report kind ''"),
    ],
)
def test_invalid_report_values_are_refused(values: list[str], message: str) -> None:
    """An invalid value is a usage error with a hint or a suggestion."""
    with pytest.raises(UsageError, match=message) as caught:
        reporting.parse_reports(values)

    assert caught.value.hint


def test_target_of_a_link_is_replaced(tmp_path: Path) -> None:
    """A report replaces the target of a link and keeps the link."""
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "file").write_text("before")

    report_files.write(str(tmp_path / "link"), "after\n")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "after\n"


def test_pipe_is_written_to(tmp_path: Path) -> None:
    """A pipe is written to and not replaced by a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        report_files.write(str(pipe), "through\n")
        assert os.read(end, 100) == b"through\n"
    finally:
        os.close(end)
    assert pipe.is_fifo()


def test_unwritable_report_changes_nothing(tmp_path: Path) -> None:
    """A report that cannot be written leaves the directory unchanged."""
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory/report").mkdir()

    with pytest.raises(OSError, match="directory"):
        report_files.write(str(tmp_path / "directory/report"), "x")
    with pytest.raises(OSError, match="space"):
        report_files.write("/dev/full", "x")

    assert [*(tmp_path / "directory").iterdir()] == [tmp_path / "directory/report"]


ALL = ("junit=j.xml", "json=r.json", "jsonl=l.jsonl", "trace=t.json", "html=p.html", "github")


def report_options(*values: str) -> list[str]:
    """Return the values as `--report` options."""
    return [argument for value in values for argument in ("--report", value)]


def test_run_writes_all_requested_reports(project: Project) -> None:
    """A run writes every requested report in addition to the display."""
    done = project.run("run", *report_options(*ALL, "agent"))

    assert done.returncode == ExitCode.BLOCKED
    assert done.stdout.startswith("FAIL bad: exit 3: broken")
    assert "::error file=scenarios/bad.sh,line=1,title=FAIL bad::" in done.stdout
    run = json.loads(project.path("r.json").read_text())
    assert [entry["outcome"] for entry in run["scenarios"]] == ["PASS", "FAIL", "SKIP"]
    suites = fromstring(project.path("j.xml").read_text())  # noqa: S314 - our own
    assert suites.get("failures") == "1"
    assert {suite.get("hostname") for suite in suites} == {socket.gethostname()}
    lines = [json.loads(line) for line in project.path("l.jsonl").read_text().splitlines()]
    assert lines[0]["run"] == run["id"]
    assert lines[-1]["event"] == "run_finished"
    rows = json.loads(project.path("t.json").read_text())["traceEvents"]
    assert {row["name"] for row in rows if row.get("cat") == "attempt"} == {"good", "bad", "skips"}
    assert "1 of 3 block" in project.path("p.html").read_text()


def test_unwritable_report_affects_no_other_report(project: Project) -> None:
    """Other reports are written, the exit code is the run's, and the hint works."""
    kinds = report_options("junit=no/j.xml", "jsonl=no/l.jsonl", "html=/dev/full", "json=r.json")
    done = project.run("run", "bad", *kinds)

    assert done.returncode == ExitCode.BLOCKED
    assert json.loads(project.path("r.json").read_text())["counts"] == {"FAIL": 1}
    assert "report junit=no/j.xml could not be written: No such file or directory" in done.stderr
    assert "report jsonl=no/l.jsonl could not be written" in done.stderr
    assert "report html=/dev/full could not be written: No space left on device" in done.stderr
    (hint,) = [line for line in done.stderr.splitlines() if line.endswith("--as junit")]
    report = project.run(*hint.split()[2:])
    assert fromstring(report.stdout).get("failures") == "1"  # noqa: S314 - our own


def test_missing_report_is_no_success(project: Project) -> None:
    """A passing run exits 125 if a requested report cannot be written."""
    done = project.run("run", "good", *report_options("junit=no/j.xml"))

    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert "1 PASS" in done.stdout


def test_report_on_stdout_moves_other_output_to_stderr(project: Project) -> None:
    """With a report on stdout, annotations and the output of a command go to stderr."""
    done = project.run(
        "run", *report_options("junit=-", "github"), "--", "sh", "-c", "echo output; exit 3"
    )

    assert fromstring(done.stdout).get("failures") == "1"  # noqa: S314 - our own
    assert "output\n" in done.stderr
    assert "::error " in done.stderr


def test_json_option_equals_json_report(project: Project) -> None:
    """`--json` equals `--report json=-` and excludes another document on stdout."""
    short = project.run("run", "good", "--json")
    long = project.run("run", "good", "--report=json=-")
    both = project.run("run", "good", "--json", "--report", "html=-")

    assert json.loads(short.stdout).keys() == json.loads(long.stdout).keys()
    assert both.returncode == ExitCode.USAGE


def test_event_lines_are_streamed(project: Project) -> None:
    """The start of a scenario is written before the scenario ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = f"exec 3<>/dev/tcp/127.0.0.1/{port}; read -r line <&3; echo $line\n"
        project.path("scenarios/good.sh").write_text(script)
        with subprocess.Popen(
            project.command("run", "good", "--report", "jsonl=-"),
            cwd=project.top,
            env=project.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as running:
            assert running.stdout is not None
            early = [json.loads(running.stdout.readline()) for _ in range(2)]
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"go\n")
            late = [json.loads(line) for line in running.stdout]

    assert [event["event"] for event in early] == ["run_started", "scenario_started"]
    assert [event["event"] for event in late] == ["scenario_finished", "run_finished"]


def sort_lines(text: str) -> list[Any]:
    """Return the sorted lines: the order of simultaneous events is undefined."""
    return sorted(text.splitlines())


def test_event_lines_can_be_recreated(project: Project) -> None:
    """The record yields the streamed lines, including confirmations in isolation."""
    done = project.run("run", "-j", "3", "--report", "jsonl=-")

    assert "scenario_finished" in done.stdout
    assert sort_lines(project.run("report", "--as", "jsonl").stdout) == sort_lines(done.stdout)


@pytest.mark.parametrize("kind", ["junit", "json", "jsonl", "trace", "html"])
def test_report_of_a_past_run_equals_the_original(project: Project, kind: str) -> None:
    """A report of the newest run or of a run by id equals the one written by the run."""
    project.run("run", "-j", "1", *report_options(f"{kind}=original"))
    newest = project.run("report", "--as", kind, "-o", "copy")
    directory = max(project.path(".isosmoke/runs").glob("2*"))
    by_id = project.run("report", directory.name, "--as", kind)

    assert newest.returncode == ExitCode.OK
    assert newest.stdout == ""
    assert project.path("copy").read_text() == project.path("original").read_text() == by_id.stdout


def test_report_without_a_run_or_directory_fails(project: Project) -> None:
    """A missing run and an unwritable file are errors."""
    assert project.run("report", "--as", "json").returncode == ExitCode.NOTHING_SELECTED
    project.run("run", "good")
    done = project.run("report", "--as", "json", "-o", "no/x")

    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert "no/x could not be written: No such file or directory" in done.stderr


def test_step_summary_is_appended_within_the_limit(project: Project) -> None:
    """Earlier text of the step summary is kept, and the total size is limited."""
    summary = project.path("summary.md")
    summary.write_text("earlier\n")
    step = {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_WORKSPACE": str(project.top.parent)}
    done = project.run("run", "bad", "--report", "github", **step)
    first = summary.read_text()
    summary.write_text("x" * (github.MAX_SUMMARY_BYTES - 10))
    project.run("report", "--as", "github", **step)

    assert "::error file=project/scenarios/bad.sh,line=1,title=FAIL bad::" in done.stdout
    assert first.startswith("earlier\n## isosmoke: 1 FAIL\n")
    assert summary.stat().st_size == github.MAX_SUMMARY_BYTES - 10


def run_with_stdout(
    project: Project, stdout: int, *arguments: str
) -> "subprocess.CompletedProcess[str]":
    """Run isosmoke with this file descriptor as its stdout."""
    return subprocess.run(
        project.command(*arguments),
        cwd=project.top,
        env=project.environment(),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.fixture(params=["full disk", "closed pipe"])
def broken_stdout(request: pytest.FixtureRequest) -> Iterator[tuple[int, str]]:
    """Return a descriptor that cannot be written to, and the kernel's message for it."""
    if request.param == "full disk":
        descriptor, number = os.open("/dev/full", os.O_WRONLY), errno.ENOSPC
    else:
        reader, descriptor = os.pipe()
        os.close(reader)
        number = errno.EPIPE
    yield descriptor, os.strerror(number)
    os.close(descriptor)


@pytest.mark.parametrize(
    ("arguments", "code", "outcome"),
    [
        (["good"], ExitCode.INFRASTRUCTURE, "PASS"),
        (["bad"], ExitCode.BLOCKED, "FAIL"),
        (["good", "--report", "agent"], ExitCode.INFRASTRUCTURE, "PASS"),
        (["--", "echo", "output"], ExitCode.INFRASTRUCTURE, "PASS"),
    ],
)
def test_run_completes_with_a_broken_stdout(
    project: Project,
    broken_stdout: tuple[int, str],
    *,
    arguments: list[str],
    code: int,
    outcome: str,
) -> None:
    """The record is complete, failures keep their exit code, and a hint shows the run."""
    stdout, reason = broken_stdout
    done = run_with_stdout(project, stdout, "run", *report_options("json=run.json"), *arguments)
    (scenario,) = json.loads(project.path("run.json").read_text())["scenarios"]
    newest = max(directory.name for directory in project.path(".isosmoke/runs").glob("2*"))

    assert done.returncode == code
    assert done.stderr.splitlines()[-2:] == [
        f"isosmoke: this run could not be written: {reason}",
        f"  try: isosmoke show {newest}",
    ]
    assert scenario["outcome"] == outcome
    assert "not finished" not in project.run("runs").stdout


@pytest.mark.parametrize("arguments", [["list"], ["runs"], ["schema", "record"], ["run", "good"]])
def test_full_disk_is_an_infrastructure_error(project: Project, arguments: list[str]) -> None:
    """A full disk on stdout, or on both streams, exits 125 without a traceback."""
    project.run("run", "good")
    with Path("/dev/full").open("wb") as full:
        done = run_with_stdout(project, full.fileno(), *arguments)
        command = ["sh", "-c", 'exec "$@" 2>&1', "sh", *project.command(*arguments)]
        silent = subprocess.run(
            command, cwd=project.top, env=project.environment(), stdout=full, check=False
        )

    assert (done.returncode, silent.returncode) == (ExitCode.INFRASTRUCTURE,) * 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_closed_pipe_is_ignored_quietly(project: Project, broken_stdout: tuple[int, str]) -> None:
    """A command that runs nothing prints no error about a closed pipe, only about a full disk."""
    stdout, reason = broken_stdout
    done = run_with_stdout(project, stdout, "list")

    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert bool(done.stderr) == (reason != os.strerror(errno.EPIPE))


def test_gate_writes_reports_before_its_verdict(project: Project) -> None:
    """A shut gate writes its report; an unwritable report makes an open gate exit 125."""
    shut = project.run("gate", "task-b", *report_options("junit=j.xml", "html=no/x"))
    opened = project.run("gate", "task-a", *report_options("html=no/x"))

    assert shut.returncode == ExitCode.BLOCKED
    assert fromstring(project.path("j.xml").read_text()).get("failures") == "1"  # noqa: S314
    last = shut.stderr.splitlines()[-12:]
    assert any(line.startswith("gate: SHUT") for line in last)
    assert not any("html=no/x" in line for line in last[-4:])
    assert opened.returncode == ExitCode.INFRASTRUCTURE


def test_gate_without_a_run_writes_no_report(project: Project) -> None:
    """A gate for a task without scenarios writes no report and says so."""
    done = project.run("gate", "task-z", *report_options("junit=j.xml"))

    assert done.returncode == ExitCode.OK
    assert "no report was written: nothing was run" in done.stderr
    assert not project.path("j.xml").exists()


def test_gate_json_excludes_a_report_on_stdout(project: Project) -> None:
    """`gate --json` and another document on stdout are refused before anything runs."""
    done = project.run("gate", "task-a", "--json", "--report", "html=-")

    assert done.returncode == ExitCode.USAGE
    assert done.stdout == ""


def test_done_writes_reports_before_it_runs_wg(project: Project) -> None:
    """Reports are written, and the exit code is wg's even if a report cannot be written."""
    done = project.run("done", *report_options("junit=j.xml", "html=no/x"), "task-a")

    assert done.returncode == ExitCode.OK
    assert done.stdout.endswith("wg\n")
    assert fromstring(project.path("j.xml").read_text()).get("tests") == "1"  # noqa: S314
    assert "report html=no/x could not be written" in done.stderr


def test_run_prints_agent_report_to_agents_and_on_request(tmp_path: Path) -> None:
    """A recognised agent gets this report on stdout; `--report` and `--json` take precedence."""
    available.require_engine("bubblewrap")
    project = Project.within(tmp_path)

    plain = project.run("run", "bad")
    recognised = project.run("run", "bad", CLAUDECODE="1")
    requested = project.run("run", "bad", "--report", "agent", "--json")

    assert plain.stdout.startswith("isosmoke")
    assert recognised.stdout.startswith("FAIL bad: exit 3: broken | asserts: It never breaks.")
    assert requested.stdout.startswith("{")
    assert requested.stderr.startswith("FAIL bad")


def test_past_run_is_shown_in_short_to_agents(tmp_path: Path) -> None:
    """`show` of a run and of a scenario is short for an agent, unless `--full` is given."""
    available.require_engine("bubblewrap")
    project = Project.within(tmp_path)
    text = "for i in {1..12}; do printf '%9000d\\n' $i; done >&2\nexit 3\n"
    project.path("scenarios/bad.sh").write_text(text)
    project.run("run", "bad")

    for target in ((), ("bad",)):
        short = project.run("show", *target, CLAUDECODE="1").stdout
        full = project.run("show", *target, "--full", CLAUDECODE="1").stdout
        assert short.startswith("FAIL bad")
        assert len(short) < 8_100
        assert len(short) < len(full)
        assert full == project.run("show", *target).stdout
