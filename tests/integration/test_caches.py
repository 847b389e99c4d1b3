"""The caches of the user in sandboxes: visible copy-on-write, only where they are asked for."""

import json
from pathlib import Path

import pytest

from support import available
from support.project import Project

ENGINES = ("bubblewrap", "docker")

READS = 'cat ~/.cargo/registry/crate 2>/dev/null || echo "no cache"'
ADDS = "echo added >~/.cargo/registry/new && echo changed >~/.cargo/registry/crate"

DECLARED = """
[[scenario]]
name = "declared"
script = "scenarios/declared.sh"
owners = ["task-a"]
cache = ["cargo"]

[[scenario]]
name = "plain"
script = "scenarios/plain.sh"
owners = ["task-a"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project whose user has a cache of cargo, and credentials next to it."""
    project = Project.within(tmp_path, DECLARED)
    cargo = tmp_path / "home/.cargo"
    (cargo / "registry").mkdir(parents=True)
    (cargo / "registry/crate").write_text("cached\n")
    (cargo / "credentials.toml").write_text("secret\n")
    for name in ("declared", "plain"):
        project.path(f"scenarios/{name}.sh").write_text(READS)
    return project


def _get_registry(project: Project) -> Path:
    return project.top.parent / "home/.cargo/registry"


def _run(project: Project, engine: str, line: str, *options: str) -> str:
    """Run a line of shell as a command, and return what it printed."""
    done = project.run("run", "--engine", engine, *options, "--", "sh", "-c", line)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("engine", ENGINES)
def test_command_sees_caches_and_changes_only_a_copy(project: Project, engine: str) -> None:
    """The user's cache is as before, and the credentials next to it are not visible."""
    available.require_engine(engine)
    output = _run(project, engine, f"{READS}; ls -A ~/.cargo; {ADDS}")

    assert "cached\nregistry\n" in output
    assert sorted(path.name for path in _get_registry(project).iterdir()) == ["crate"]
    assert (_get_registry(project) / "crate").read_text() == "cached\n"
    assert "no cache" in _run(project, engine, READS, "--no-cache")


@pytest.mark.parametrize("engine", ENGINES)
def test_additions_are_kept_on_request(project: Project, engine: str) -> None:
    """A later command in the project sees them, the user's cache does not have them."""
    available.require_engine(engine)
    shows = "cat ~/.cargo/registry/new || echo nothing"
    _run(project, engine, ADDS)
    assert "nothing" in _run(project, engine, shows)

    _run(project, engine, f"{ADDS}; echo jar >~/.m2/repository/a", "--keep-cache")
    assert "added\nchanged\n" in _run(project, engine, f"{shows}; {READS}")
    assert "jar\n" in _run(project, engine, "cat ~/.m2/repository/a")
    assert sorted(path.name for path in _get_registry(project).iterdir()) == ["crate"]
    assert not (project.top.parent / "home/.m2").exists()


def test_changes_of_caches_are_no_evidence(project: Project) -> None:
    """The changed files of a failure are those of the project, not of caches."""
    done = project.run("run", "--json", "--", "sh", "-c", f"{ADDS}; echo x >own; exit 3")
    (scenario,) = json.loads(done.stdout)["scenarios"]
    changes = scenario["attempts"][0]["evidence"]["changes"]

    assert [Path(change["path"]).name for change in changes] == ["own"]


def test_scenario_sees_only_the_caches_that_it_declares(project: Project) -> None:
    """A scenario of a manifest sees no cache by default, in `run` and in the gate."""
    done = project.run("run", "--json")
    printed = {
        entry["name"]: entry["output"]["last_lines"]
        for entry in json.loads(done.stdout)["scenarios"]
    }
    assert printed == {"declared": ["cached"], "plain": ["no cache"]}

    assert project.run("gate", "task-a").returncode == 0
    (receipt,) = project.receipts()
    assert json.loads(receipt.read_text())["predicate"]["isosmoke"]["caches"] == {
        "declared": ["cargo"]
    }


def test_scenario_does_not_see_additions(project: Project) -> None:
    """The additions of commands are no part of what a scenario is tested with."""
    _run(project, "bubblewrap", ADDS, "--keep-cache")
    done = project.run("run", "--json", "declared")

    assert json.loads(done.stdout)["scenarios"][0]["output"]["last_lines"] == ["cached"]
