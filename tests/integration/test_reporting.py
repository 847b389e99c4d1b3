"""`--report` and `isosmoke report`: which reports are made, and where they go."""

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
from isosmoke.cli.reporting import Chosen, Report
from isosmoke.errors import ExitCode, UsageError
from isosmoke.reports import github
from support import available
from support.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose scenarios can run, with one that passes, one that fails, one that skips."""
    available.engine("bubblewrap")
    return Project.within(tmp_path)


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ([], Chosen()),
        (["agent"], Chosen("agent")),
        (["console", "console"], Chosen("console")),
        (
            ["junit=a=b.xml", "github", "agent"],
            Chosen("agent", (Report("junit", "a=b.xml"), Report("github"))),
        ),
        (["json=-", "json=-"], Chosen(None, (Report("json", "-"),), stdout_taken=True)),
    ],
)
def test_words_are_understood(words: list[str], asked: Chosen) -> None:
    """What is shown and what is written are asked for by one option; twice the same is once."""
    assert reporting.chosen(words) == asked


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["junti=x"], "did you mean 'junit'"),
        (["junit"], "needs a file"),
        (["html="], "needs a file"),
        (["github=x"], "takes no file"),
        (["agent="], "takes no file"),
        (["agent", "console"], "shown once"),
        (["junit=x", "html=x"], "two documents go to x"),
        (["junit=-", "html=-"], "two documents go to stdout"),
        ([""], "no report ''"),
    ],
)
def test_contradictions_are_refused(words: list[str], complaint: str) -> None:
    """Nothing is started for what cannot be meant."""
    with pytest.raises(UsageError, match=complaint) as refused:
        reporting.chosen(words)

    assert refused.value.hint or "not both" in refused.value.message


def test_file_behind_a_link_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    """The report is where the link says."""
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "file").write_text("before")

    report_files.put(str(tmp_path / "link"), "after\n")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "after\n"


def test_pipe_is_written_to(tmp_path: Path) -> None:
    """What is no file is not replaced by one."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        report_files.put(str(pipe), "through\n")
        assert os.read(end, 100) == b"through\n"
    finally:
        os.close(end)
    assert pipe.is_fifo()


def test_report_that_has_no_room_is_not_begun(tmp_path: Path) -> None:
    """What was there before stays as it was."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/report").mkdir()

    with pytest.raises(OSError, match="directory"):
        report_files.put(str(tmp_path / "folder/report"), "x")
    with pytest.raises(OSError, match="space"):
        report_files.put("/dev/full", "x")

    assert [*(tmp_path / "folder").iterdir()] == [tmp_path / "folder/report"]


ALL = ("junit=j.xml", "json=r.json", "jsonl=l.jsonl", "trace=t.json", "html=p.html", "github")


def asking(*words: str) -> list[str]:
    """These as options."""
    return [word for one in words for word in ("--report", one)]


def test_run_makes_every_report_that_is_asked_for(project: Project) -> None:
    """Beside what is shown, each file is there and tells of the same run."""
    done = project.run("run", *asking(*ALL, "agent"))

    assert done.returncode == ExitCode.BLOCKED
    assert done.stdout.startswith("FAIL bad: exit 3: broken")
    assert "::error file=scenarios/bad.sh,line=1,title=FAIL bad::" in done.stdout
    run = json.loads(project.path("r.json").read_text())
    assert [one["outcome"] for one in run["scenarios"]] == ["PASS", "FAIL", "SKIP"]
    suites = fromstring(project.path("j.xml").read_text())  # noqa: S314 - our own
    assert suites.get("failures") == "1"
    assert {one.get("hostname") for one in suites} == {socket.gethostname()}
    lines = [json.loads(one) for one in project.path("l.jsonl").read_text().splitlines()]
    assert lines[0]["run"] == run["id"]
    assert lines[-1]["event"] == "run_finished"
    rows = json.loads(project.path("t.json").read_text())["traceEvents"]
    assert {one["name"] for one in rows if one.get("cat") == "attempt"} == {"good", "bad", "skips"}
    assert "1 of 3 block" in project.path("p.html").read_text()


def test_what_cannot_be_written_costs_nothing_else(project: Project) -> None:
    """The others are there, the exit code is the run's, and the way to make it later works."""
    kinds = asking("junit=no/j.xml", "jsonl=no/l.jsonl", "html=/dev/full", "json=r.json")
    done = project.run("run", "bad", *kinds)

    assert done.returncode == ExitCode.BLOCKED
    assert json.loads(project.path("r.json").read_text())["counts"] == {"FAIL": 1}
    assert "report junit=no/j.xml could not be written: No such file or directory" in done.stderr
    assert "report jsonl=no/l.jsonl could not be written" in done.stderr
    assert "report html=/dev/full could not be written: No space left on device" in done.stderr
    (hint,) = [line for line in done.stderr.splitlines() if line.endswith("--as junit")]
    again = project.run(*hint.split()[2:])
    assert fromstring(again.stdout).get("failures") == "1"  # noqa: S314 - our own


def test_success_without_its_report_is_none(project: Project) -> None:
    """Whoever asked for a report and would believe exit code 0 is told otherwise."""
    done = project.run("run", "good", *asking("junit=no/j.xml"))

    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert "1 PASS" in done.stdout


def test_dash_is_stdout_and_all_else_goes_to_stderr(project: Project) -> None:
    """Stdout is the one document, annotations and the output of a command included."""
    done = project.run("run", *asking("junit=-", "github"), "--", "sh", "-c", "echo said; exit 3")

    assert fromstring(done.stdout).get("failures") == "1"  # noqa: S314 - our own
    assert "said\n" in done.stderr
    assert "::error " in done.stderr


def test_json_is_the_report_of_that_name(project: Project) -> None:
    """`--json` and `--report json=-` are one thing, and not to be asked for beside another."""
    one, other = project.run("run", "good", "--json"), project.run("run", "good", "--report=json=-")
    both = project.run("run", "good", "--json", "--report", "html=-")

    assert json.loads(one.stdout).keys() == json.loads(other.stdout).keys()
    assert both.returncode == ExitCode.USAGE


def test_lines_come_while_the_run_goes_on(project: Project) -> None:
    """A scenario that waits has been told of as started before it ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = f"exec 3<>/dev/tcp/127.0.0.1/{port}; read -r word <&3; echo $word\n"
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

    assert [one["event"] for one in early] == ["run_started", "scenario_started"]
    assert [one["event"] for one in late] == ["scenario_finished", "run_finished"]


def sorted_lines(text: str) -> list[Any]:
    """Lines whatever their order: two events at once may be told either way round."""
    return sorted(text.splitlines())


def test_record_makes_the_same_lines_later(project: Project) -> None:
    """What was streamed, confirmations alone included, can be had again."""
    done = project.run("run", "-j", "3", "--report", "jsonl=-")

    assert "scenario_finished" in done.stdout
    assert sorted_lines(project.run("report", "--as", "jsonl").stdout) == sorted_lines(done.stdout)


@pytest.mark.parametrize("kind", ["junit", "json", "jsonl", "trace", "html"])
def test_report_of_a_past_run_is_the_one_of_then(project: Project, kind: str) -> None:
    """Made later, of the newest run or of one by name, a report is the same text."""
    project.run("run", "-j", "1", *asking(f"{kind}=then"))
    newest = project.run("report", "--as", kind, "-o", "now")
    folder = max(project.path(".isosmoke/runs").glob("2*"))
    named = project.run("report", folder.name, "--as", kind)

    assert newest.returncode == ExitCode.OK
    assert newest.stdout == ""
    assert project.path("now").read_text() == project.path("then").read_text() == named.stdout


def test_report_without_a_run_or_a_place_says_so(project: Project) -> None:
    """Neither is a success."""
    assert project.run("report", "--as", "json").returncode == ExitCode.NOTHING_SELECTED
    project.run("run", "good")
    lost = project.run("report", "--as", "json", "-o", "no/x")

    assert lost.returncode == ExitCode.INFRASTRUCTURE
    assert "no/x could not be written: No such file or directory" in lost.stderr


def test_summary_is_appended_within_the_limit(project: Project) -> None:
    """What earlier commands of the step wrote stays, and the whole is never too long."""
    summary = project.path("summary.md")
    summary.write_text("earlier\n")
    step = {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_WORKSPACE": str(project.top.parent)}
    done = project.run("run", "bad", "--report", "github", **step)
    first = summary.read_text()
    summary.write_text("x" * (github.MOST_BYTES - 10))
    project.run("report", "--as", "github", **step)

    assert "::error file=project/scenarios/bad.sh,line=1,title=FAIL bad::" in done.stdout
    assert first.startswith("earlier\n## isosmoke: 1 FAIL\n")
    assert summary.stat().st_size == github.MOST_BYTES - 10


def into(project: Project, stdout: int, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run isosmoke with this as its stdout."""
    return subprocess.run(
        project.command(*words),
        cwd=project.top,
        env=project.environment(),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.fixture(params=["full disk", "nobody reads"])
def refusing(request: pytest.FixtureRequest) -> Iterator[tuple[int, str]]:
    """A stdout that takes nothing, and the kernel's words for that."""
    if request.param == "full disk":
        writing, why = os.open("/dev/full", os.O_WRONLY), errno.ENOSPC
    else:
        reading, writing = os.pipe()
        os.close(reading)
        why = errno.EPIPE
    yield writing, os.strerror(why)
    os.close(writing)


@pytest.mark.parametrize(
    ("words", "code", "outcome"),
    [
        (["good"], ExitCode.INFRASTRUCTURE, "PASS"),
        (["bad"], ExitCode.BLOCKED, "FAIL"),
        (["good", "--report", "agent"], ExitCode.INFRASTRUCTURE, "PASS"),
        (["--", "sh", "-c", "echo said; echo more"], ExitCode.INFRASTRUCTURE, "PASS"),
    ],
)
def test_run_that_cannot_be_shown_goes_on_to_its_end(
    project: Project, refusing: tuple[int, str], *, words: list[str], code: int, outcome: str
) -> None:
    """Its record is whole, its failures keep their exit code, and it is said how to see it."""
    stdout, why = refusing
    done = into(project, stdout, "run", *asking("json=kept.json"), *words)
    (kept,) = json.loads(project.path("kept.json").read_text())["scenarios"]
    newest = max(one.name for one in project.path(".isosmoke/runs").glob("2*"))

    assert done.returncode == code
    assert done.stderr.splitlines() == [
        f"isosmoke: this run could not be written: {why}",
        f"  try: isosmoke show {newest}",
    ]
    assert kept["outcome"] == outcome
    assert "not finished" not in project.run("runs").stdout


@pytest.mark.parametrize("words", [["list"], ["runs"], ["schema", "record"], ["run", "good"]])
def test_full_disk_below_stdout_is_no_verdict(project: Project, words: list[str]) -> None:
    """Neither a traceback nor the 1 of a scenario that blocks, also where stderr is on it too."""
    project.run("run", "good")
    with Path("/dev/full").open("wb") as full:
        said = into(project, full.fileno(), *words)
        line = ["sh", "-c", 'exec "$@" 2>&1', "sh", *project.command(*words)]
        mute = subprocess.run(
            line, cwd=project.top, env=project.environment(), stdout=full, check=False
        )

    assert (said.returncode, mute.returncode) == (ExitCode.INFRASTRUCTURE,) * 2
    assert "No space left on device" in said.stderr
    assert "Traceback" not in said.stderr


def test_reader_that_goes_away_is_no_verdict(project: Project, refusing: tuple[int, str]) -> None:
    """What prints and runs nothing ends quietly where nobody reads it."""
    stdout, why = refusing
    done = into(project, stdout, "list")

    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert bool(done.stderr) == (why != os.strerror(errno.EPIPE))


def test_gate_reports_and_its_verdict_stays_last(project: Project) -> None:
    """A shut gate has its report; what cannot be written keeps an open one from exiting 0."""
    shut = project.run("gate", "task-b", *asking("junit=j.xml", "html=no/x"))
    opened = project.run("gate", "task-a", *asking("html=no/x"))

    assert shut.returncode == ExitCode.BLOCKED
    assert fromstring(project.path("j.xml").read_text()).get("failures") == "1"  # noqa: S314
    last = shut.stderr.splitlines()[-12:]
    assert any(line.startswith("gate: SHUT") for line in last)
    assert not any("html=no/x" in line for line in last[-4:])
    assert opened.returncode == ExitCode.INFRASTRUCTURE


def test_gate_that_ran_nothing_says_that_there_is_no_report(project: Project) -> None:
    """A task that owns nothing leaves no file behind that could be mistaken for its own."""
    done = project.run("gate", "task-z", *asking("junit=j.xml"))

    assert done.returncode == ExitCode.OK
    assert "no report was made: nothing was run" in done.stderr
    assert not project.path("j.xml").exists()


def test_document_of_a_gate_leaves_no_room_on_stdout(project: Project) -> None:
    """`--json` and another document on stdout are refused, before anything runs."""
    done = project.run("gate", "task-a", "--json", "--report", "html=-")

    assert done.returncode == ExitCode.USAGE
    assert done.stdout == ""


def test_done_reports_before_it_becomes_wg(project: Project) -> None:
    """The report is there, and the exit code is wg's even where one could not be written."""
    done = project.run("done", *asking("junit=j.xml", "html=no/x"), "task-a")

    assert done.returncode == ExitCode.OK
    assert done.stdout.endswith("wg\n")
    assert fromstring(project.path("j.xml").read_text()).get("tests") == "1"  # noqa: S314
    assert "report html=no/x could not be written" in done.stderr
