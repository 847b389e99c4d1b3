"""Commands that are short for a coding agent, and the small JSON document of a run."""

import json
from pathlib import Path

import pytest

from support import available
from support.project import GOOD, Project

MANY = "".join(GOOD.replace('good"', f'good_{number}"', 1) for number in range(600))
AGENT = {"AGENT": "amp"}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project; its runs need bubblewrap."""
    available.require_engine("bubblewrap")
    return Project.within(tmp_path)


def test_list_is_short_for_an_agent(tmp_path: Path) -> None:
    """The list ends with the command that shows all; readers and `--full` see everything."""
    project = Project.within(tmp_path, MANY)
    short = project.run("list", **AGENT).stdout.splitlines()
    full = project.run("list", "--full", **AGENT).stdout

    assert sum(map(len, short)) < 9000
    assert short[0] == "good_0: It works."
    assert short[-1].endswith(" more: isosmoke list --full, or select some")
    assert full == project.run("list").stdout
    assert len(full.splitlines()) == 600


def test_history_is_short_for_an_agent(project: Project) -> None:
    """It has the last five runs and the counts of all."""
    for _ in range(6):
        project.run("run", "bad")
    *rows, counts = project.run("history", "bad", **AGENT).stdout.splitlines()

    assert len(rows) == 5
    assert counts == "6 FAIL in 6 runs; all: isosmoke history bad --full"
    assert len(project.run("history", "bad", "--full", **AGENT).stdout.splitlines()) == 6


def test_summary_is_small_and_complete(project: Project) -> None:
    """It has the counts, what blocks with cause and commands, and what is no plain pass."""
    done = project.run("run", "--json=summary")
    document = json.loads(done.stdout)
    (blocking,) = document["blocking"]
    (warned,) = document["warned"]

    assert done.returncode == 1
    assert (document["ok"], document["counts"]) == (False, {"PASS": 1, "SKIP": 1, "FAIL": 1})
    assert (blocking["name"], blocking["outcome"]) == ("bad", "FAIL")
    assert blocking["reason"] == "exit 3: broken"
    assert blocking["assertion"] == "It never breaks."
    assert warned == {"name": "skips", "outcome": "SKIP", "reason": "exit 77: no network"}
    repeated = project.run(*blocking["repeat"].split()[1:])
    assert repeated.returncode == 1
    assert project.run(*blocking["show"].split()[1:]).returncode == 0


def test_summary_of_a_past_run(project: Project) -> None:
    """`isosmoke report` writes it later; a run that passes is ok."""
    project.run("run", "good")
    document = json.loads(project.run("report", "--as", "summary").stdout)

    assert document["ok"]
    assert document["blocking"] == []


def test_plain_json_takes_no_value(project: Project) -> None:
    """A name after `--json` is a name; `--json=record` is the same document."""
    for form in ("--json", "--json=record"):
        document = json.loads(project.run("run", form, "good").stdout)
        assert [scenario["name"] for scenario in document["scenarios"]] == ["good"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--json=sumary",), "--json=sumary is unknown; did you mean 'summary'?"),
        (("--json", "--json=summary"), "two documents would be written to stdout"),
    ],
)
def test_wrong_form_is_a_usage_error(
    project: Project, options: tuple[str, ...], message: str
) -> None:
    """The error names the form."""
    done = project.run("run", *options)

    assert done.returncode == 2
    assert message in done.stderr


def test_json_form_of_a_command_belongs_to_the_command(project: Project) -> None:
    """The arguments after `--` are not changed."""
    done = project.run("run", "--json=summary", "--", "echo", "--json=summary")

    assert json.loads(done.stdout)["ok"]
    assert "--json=summary" in done.stderr
