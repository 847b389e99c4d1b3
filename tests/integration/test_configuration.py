"""The user's configuration file: precedence, mistakes, `config show`, and no effect on a gate."""

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from support import available
from support.project import Project

EVERYTHING = """\
[run]
jobs = 1
engine = "docker"
evidence = "never"

[display]
status_level = "none"
color = "always"
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project; its runs need bubblewrap."""
    available.require_engine("bubblewrap")
    return Project.within(tmp_path)


def configure(project: Project, text: str) -> Path:
    """Write the configuration file of the project's user."""
    file = project.top.parent / "home/.config/isosmoke/config.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def read_names(output: str) -> set[str]:
    """Return the names of the scenarios that have a line."""
    rows = map(str.split, output.splitlines())
    return {row[2] for row in rows if len(row) > 2 and re.fullmatch(r"[0-9.]+s", row[1])}


def test_option_variable_and_file_in_this_order(project: Project) -> None:
    """Each overrides what comes after it."""
    configure(project, '[display]\nstatus_level = "none"\n')

    assert read_names(project.run("run").stdout) == set()
    assert read_names(project.run("run", ISOSMOKE_STATUS_LEVEL="fail").stdout) == {"bad"}
    done = project.run("run", "--status-level", "pass", ISOSMOKE_STATUS_LEVEL="fail")
    assert read_names(done.stdout) == {"good", "bad"}
    assert read_names(project.run("run", "-q").stdout) == {"bad"}


def test_colour(project: Project) -> None:
    """The file adds or removes colour; the variables of other tools come first."""
    configure(project, '[display]\ncolor = "always"\n')

    assert "\x1b[" in project.run("run", "good").stdout
    assert "\x1b[" not in project.run("run", "good", NO_COLOR="1").stdout
    configure(project, '[display]\ncolor = "never"\n')
    assert "\x1b[" in project.run("run", "good", FORCE_COLOR="1").stdout
    assert "\x1b[" not in project.run("run", "good").stdout


def test_engine_of_a_run(project: Project) -> None:
    """A configured engine is used, and named in the command that repeats the run."""
    configure(project, '[run]\nengine = "bubblewrap"\n')
    done = project.run("run", "bad")

    assert "  repeat  isosmoke run --engine bubblewrap bad" in done.stdout.splitlines()


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 100_000], ids=["long", "deep"])
def test_value_that_python_cannot_read_is_a_mistake(project: Project, value: str) -> None:
    """A number of too many digits and too deep nesting are no fault of isosmoke."""
    file = configure(project, f"[run]\njobs = {value}\n")
    done = project.run("config", "show")

    assert done.returncode == 2
    assert done.stderr.startswith(f"isosmoke: {file}: ")


@pytest.mark.parametrize("command", ["run", "show", "stress good --count 1"])
def test_mistake_has_its_location(project: Project, command: str) -> None:
    """File, line, key and suggestion are in the message, and nothing runs."""
    file = configure(project, "[run]\n\njbos = 3\n")
    done = project.run(*command.split())

    assert done.returncode == 2
    assert done.stderr.startswith(
        f"isosmoke: {file}:3: key 'run.jbos': is an unknown key; did you mean 'jobs'?"
    )
    assert "  try: " in done.stderr


@pytest.mark.parametrize("text", ["[run\n", "\xff"])
def test_unreadable_file_is_an_error(project: Project, text: str) -> None:
    """A file that is no TOML is named."""
    file = configure(project, "")
    file.write_bytes(text.encode("latin-1"))
    done = project.run("run")

    assert done.returncode == 2
    assert str(file) in done.stderr
    assert "Traceback" not in done.stderr


REPLACEMENTS: Mapping[str, tuple[Callable[[Path], object], str]] = {
    "a loop": (lambda file: file.symlink_to(file), "is in a loop of symbolic links"),
    "a dangling link": (
        lambda file: file.symlink_to("none"),
        "is a symbolic link to a missing file",
    ),
    "a directory": (lambda file: file.mkdir(), "is a directory"),
    "a named pipe": (os.mkfifo, "cannot be read: Is a named pipe, not a regular file"),
}


@pytest.mark.parametrize("name", REPLACEMENTS)
def test_anything_but_a_file_is_an_error(project: Project, name: str) -> None:
    """The error names the path and what to do, and no command waits for a pipe."""
    file = configure(project, "")
    file.unlink()
    replace, reason = REPLACEMENTS[name]
    replace(file)
    done = project.run("run")

    assert done.returncode == 2
    assert done.stderr.startswith(f"isosmoke: {file}: {reason}\n")
    assert f"  try: make it a readable TOML file, or move it away: mv {file} " in done.stderr


def test_xdg_directory(project: Project, tmp_path: Path) -> None:
    """XDG_CONFIG_HOME names another directory; a relative path has no effect."""
    configure(project, '[display]\nstatus_level = "none"\n')
    (tmp_path / "empty").mkdir()

    assert read_names(project.run("run", XDG_CONFIG_HOME=str(tmp_path / "empty")).stdout)
    assert not read_names(project.run("run", XDG_CONFIG_HOME="empty").stdout)


def test_show_names_each_origin(project: Project) -> None:
    """Default, file with line, variable and manifest."""
    file = configure(project, "[run]\njobs = 3\n")
    project.manifest.write_text(project.manifest.read_text() + "[record]\nkeep_runs = 7\n")
    done = project.run("config", "show", "--json", ISOSMOKE_ENGINE="docker")
    document = json.loads(done.stdout)
    rows = {row["name"]: row for row in document["settings"]}

    def get(name: str) -> tuple[object, str, str]:
        return rows[name]["value"], rows[name]["origin"], rows[name]["source"]

    assert (document["file"], document["exists"]) == (str(file), True)
    assert get("run.jobs") == (3, "file", f"{file}:2")
    assert get("run.engine") == ("docker", "environment", "ISOSMOKE_ENGINE")
    assert get("run.evidence") == ("failed", "default", "")
    assert get("record.keep_runs") == (7, "manifest", str(project.manifest))
    assert get("record.keep_days") == (30, "default", "")
    lines = project.run("config", "show").stdout.splitlines()
    assert lines[0] == f"file: {file}"
    assert any(
        re.fullmatch(rf"run\.jobs +3 +file: {re.escape(str(file))}:2", line) for line in lines
    )


def test_show_without_file_and_manifest(tmp_path: Path) -> None:
    """There is a value for every key nevertheless."""
    project = Project.within(tmp_path)
    project.manifest.unlink()
    done = project.run("config", "show")

    assert done.returncode == 0
    assert done.stdout.splitlines()[0].endswith(
        "/home/.config/isosmoke/config.toml  (does not exist)"
    )
    assert "record." not in done.stdout


@pytest.mark.parametrize("text", [EVERYTHING, "[run]\njbos = 3\n"])
def test_gate_reads_no_configuration(project: Project, text: str) -> None:
    """With any file and any variable, the gate does the same: it cannot be weakened by them."""
    variables = {
        "ISOSMOKE_ENGINE": "docker",
        "ISOSMOKE_EVIDENCE": "never",
        "ISOSMOKE_STATUS_LEVEL": "none",
        "ISOSMOKE_JOBS": "zero",
    }
    before = [project.run("gate", task, "--json") for task in ("task-a", "task-b")]
    configure(project, text)
    after = [project.run("gate", task, "--json", **variables) for task in ("task-a", "task-b")]

    for plain, configured in zip(before, after, strict=True):
        assert configured.returncode == plain.returncode
        first, second = json.loads(plain.stdout), json.loads(configured.stdout)
        assert second["lines"][0].split(" ")[:4] == first["lines"][0].split(" ")[:4]
        assert second["run"]["engine"] == first["run"]["engine"] == "bubblewrap"
        for run in (first["run"], second["run"]):
            for attempt in run["scenarios"][0]["attempts"]:
                assert (attempt["evidence"] is None) == (attempt["outcome"] == "PASS")
    assert [done.returncode for done in after] == [0, 1]


@pytest.mark.parametrize(
    "command", ["check", "audit", "receipt verify none", "agent-guide", "list"]
)
def test_other_commands_of_the_gate_read_none(project: Project, command: str) -> None:
    """A mistake in the file changes nothing for them, nor for `list`."""
    plain = project.run(*command.split())
    configure(project, "[run]\njbos = 3\n")
    done = project.run(*command.split())

    assert (done.returncode, done.stdout) == (plain.returncode, plain.stdout)
