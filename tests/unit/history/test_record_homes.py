"""The directories that keep the records of a task."""

from dataclasses import replace
from pathlib import Path

import pytest

from isosmoke.history import record_homes
from isosmoke.host.caller_process import Caller
from support.git_repositories import Git


def create_caller(working: Path, **environment: str) -> Caller:
    """Return a caller in a directory, with the environment of this process."""
    caller = Caller.current()
    home = working.parent / "home"
    variables = {**caller.environment, "HOME": str(home), **environment}
    return replace(caller, working=working, home=home, environment=variables)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a repository with a graph and a commit."""
    Git(tmp_path / "project").commit("first", _gitignore=".wg\n")
    (tmp_path / "project/.wg").mkdir()
    return tmp_path / "project"


def test_records_are_with_the_graph_first(project: Path, tmp_path: Path) -> None:
    """A call from another repository is recorded in the project of the graph that it names."""
    elsewhere = tmp_path / "elsewhere"
    Git(elsewhere)
    caller = create_caller(elsewhere, WG_DIR=str(project / ".wg"))

    homes = record_homes.list_homes(caller, None)

    assert homes[0] == project / ".isosmoke"
    assert elsewhere / ".isosmoke" in homes
    assert record_homes.locate_graph(caller, None) == project / ".wg"


@pytest.mark.parametrize("has_graph", [True, False])
def test_records_of_a_linked_work_tree_are_in_the_main_one(
    project: Path,
    tmp_path: Path,
    has_graph: bool,  # noqa: FBT001
) -> None:
    """The work tree is removed when its task is done, whether it has a link to the graph or not."""
    linked = tmp_path / "linked"
    Git(project)("worktree", "add", "--quiet", str(linked))
    if has_graph:
        (linked / ".wg").symlink_to(project / ".wg")
    caller = create_caller(linked)

    assert record_homes.list_homes(caller, None)[0] == project / ".isosmoke"
    assert record_homes.locate_graph(caller, None) == project / ".wg"


def test_graph_in_home_leaves_no_records_in_home(tmp_path: Path) -> None:
    """Without a graph in the project, wg uses the one in HOME, which is no project."""
    working = tmp_path / "plain"
    working.mkdir()
    (tmp_path / "home/.wg").mkdir(parents=True)

    homes = record_homes.list_homes(create_caller(working), working / "manifest.toml")

    assert tmp_path / "home/.isosmoke" not in homes
    assert working / ".isosmoke" in homes
