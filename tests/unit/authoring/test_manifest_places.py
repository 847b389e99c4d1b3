"""The manifest of the caller's work tree, and losses of the one that a gate uses."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from isosmoke.authoring.manifest_places import find_own_manifest, inspect_manifest
from isosmoke.errors import ManifestError
from isosmoke.manifest import discovery, loader
from isosmoke.manifest.mirrors import mirror_text
from support.git_repositories import Git

ENTRY = '[[scenario]]\nname = "one"\nscript = "one.sh"\n'
WEAK = '[[scenario]]\nname = "weak"\nscript = "one.sh"\n'
SMOKE = "tests/smoke/manifest.toml"
GRAPH = f".wg/{SMOKE}"


def write(path: Path, text: str = ENTRY) -> Path:
    """Write a manifest and its script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    (path.parent / "one.sh").write_text("wg one\n")
    return path


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Return a project with a graph and a committed manifest."""
    git = Git(tmp_path / "project")
    write(git.top / SMOKE)
    (git.top / ".wg").mkdir()
    (git.top / ".wg/graph.jsonl").touch()
    (git.top / ".gitignore").write_text(".wg/\n")
    git.commit("base")
    return git


def inspect(
    git: Git, variables: Mapping[str, str], *, option: Path | None = None
) -> tuple[list[str], list[str]]:
    """Return the kinds of the losses and notes of the manifest that a gate would use."""
    path = option or discovery.locate_manifest(git.top, variables)
    found = inspect_manifest(loader.load(path).path, git.top, variables, option=option)
    return [loss.kind for loss in found.losses], [note.kind for note in found.notes]


def test_tracked_manifest_has_no_losses(git: Git) -> None:
    """A committed manifest is silent, also if it has changes, is named, or has a bridge."""
    (git.top / SMOKE).write_text(ENTRY + WEAK)
    bridge = git.top / ".isosmoke/bridge.toml"
    bridge.parent.mkdir()
    bridge.write_text(mirror_text.render(loader.load(git.top / SMOKE), "bridge.sh"))

    assert inspect(git, {}) == ([], [])
    assert inspect(git, {}, option=git.top / SMOKE) == ([], [])
    assert inspect(git, {"WG_SMOKE_MANIFEST": str(git.top / SMOKE)}) == ([], [])
    assert inspect(git, {"WG_SMOKE_MANIFEST": str(bridge)}) == ([], [])


def ignore(git: Git) -> None:
    """Hide the manifest with an ignored one in the graph directory."""
    write(git.top / GRAPH, WEAK)


def leave_untracked(git: Git) -> None:
    """Hide the manifest with an untracked one in the graph directory."""
    (git.top / ".gitignore").write_text("")
    write(git.top / GRAPH, WEAK)


def write_former_graph_name(git: Git) -> None:
    """Hide the manifest with one in a graph directory that has the graph's former name."""
    (git.top / ".wg").rename(git.top / ".workgraph")
    write(git.top / ".workgraph" / SMOKE, WEAK)


def hide_plain_manifest(git: Git) -> None:
    """Hide a plain manifest with the committed one."""
    write(git.top / "manifest.toml")
    git.commit("both")


def link_to_untracked(git: Git) -> None:
    """Replace the manifest with a link to an untracked one."""
    write(git.top / "weak/manifest.toml", WEAK)
    (git.top / SMOKE).unlink()
    (git.top / SMOKE).symlink_to("../../weak/manifest.toml")


def link_directory_away(git: Git) -> None:
    """Replace the directory of the manifest with a link out of the repository."""
    outside = write(git.top.parent / "outside/manifest.toml", WEAK).parent
    git("rm", "-r", "-q", "tests")
    (git.top / "tests").mkdir()
    (git.top / "tests/smoke").symlink_to(outside)


def create_inner_repository(git: Git) -> None:
    """Create a repository around the manifest."""
    Git(git.top / "tests/smoke").commit("weak")


def create_broken_inner_repository(git: Git) -> None:
    """Create an empty `.git` around the manifest."""
    (git.top / "tests/.git").mkdir()


def create_repository_in_graph(git: Git) -> None:
    """Hide the manifest with one in a repository in the graph directory."""
    write(git.top / GRAPH, WEAK)
    Git(git.top / ".wg").commit("weak")


def assume_unchanged(git: Git) -> None:
    """Keep git from seeing changes of the manifest."""
    git("update-index", "--assume-unchanged", SMOKE)


def skip_worktree(git: Git) -> None:
    """Keep git from comparing the manifest."""
    git("update-index", "--skip-worktree", SMOKE)


WAYS: dict[Any, set[str]] = {
    ignore: {"manifest-ignored", "manifest-hides"},
    leave_untracked: {"manifest-untracked", "manifest-hides"},
    write_former_graph_name: {"manifest-untracked", "manifest-hides"},
    hide_plain_manifest: {"manifest-hides"},
    link_to_untracked: {"manifest-untracked"},
    link_directory_away: {"manifest-outside"},
    create_inner_repository: {"manifest-outside"},
    create_broken_inner_repository: {"manifest-outside"},
    create_repository_in_graph: {"manifest-outside", "manifest-hides"},
    assume_unchanged: {"manifest-pinned"},
    skip_worktree: {"manifest-pinned"},
}


@pytest.mark.parametrize(("way", "kinds"), WAYS.items(), ids=[way.__name__ for way in WAYS])
def test_manifest_that_no_review_sees_is_a_loss(
    git: Git, way: Callable[[Git], None], kinds: set[str]
) -> None:
    """Each way to make wg read another manifest than the reviewed one is named."""
    way(git)

    assert set(inspect(git, {})[0]) == kinds


def test_manifest_named_by_an_override_is_a_loss(git: Git) -> None:
    """A manifest is a loss if a variable or an option names it in place of the usual one."""
    weak = write(git.top / "weak/manifest.toml", WEAK)
    git.commit("weak")

    assert inspect(git, {"WG_SMOKE_MANIFEST": str(weak)})[0] == ["manifest-override"]
    assert inspect(git, {}, option=weak)[0] == ["manifest-override"]
    bridge = git.top / ".isosmoke/bridge.toml"
    bridge.parent.mkdir()
    bridge.write_text(mirror_text.render(loader.load(weak), "bridge.sh"))
    assert inspect(git, {"WG_SMOKE_MANIFEST": str(bridge)})[0] == ["manifest-override"]


def test_manifest_of_another_repository_is_a_loss(git: Git) -> None:
    """A manifest of another repository is a loss, however it is named."""
    other = Git(git.top.parent / "other")
    weak = write(other.top / SMOKE, WEAK)
    (other.top / ".wg").mkdir()
    other.commit("weak")

    assert inspect(git, {"WG_DIR": str(other.top / ".wg")})[0] == ["manifest-outside"]
    assert set(inspect(git, {}, option=weak)[0]) == {"manifest-override", "manifest-outside"}


def test_manifest_without_a_repository_is_noted(tmp_path: Path) -> None:
    """A manifest is a note if neither it nor the caller is in a repository."""
    path = write(tmp_path / "plain" / SMOKE)

    found = inspect_manifest(path, tmp_path / "plain", {})

    assert found.losses == ()
    assert [note.kind for note in found.notes] == ["manifest-unversioned"]


def test_repository_that_git_refuses_is_a_loss(git: Git) -> None:
    """Unreadable settings of a repository are a loss, never silence."""
    (git.top / ".git/config").write_text("[core\n")

    found = inspect_manifest(git.top / SMOKE, git.top, {})

    assert [loss.kind for loss in found.losses] == ["manifest-unverified"]


def add_worktree(git: Git) -> Git:
    """Return the work tree of an agent, whose graph is a link to the main one's."""
    tree = git.top.parent / "tree"
    git("worktree", "add", "-q", "-b", "agent", str(tree))
    (tree / ".wg").symlink_to(git.top / ".wg")
    return Git(tree)


def test_manifest_without_git_is_a_loss_that_says_so(git: Git) -> None:
    """Without git nothing shows that a manifest is tracked; the reason is not hidden."""
    found = inspect_manifest(git.top / SMOKE, git.top, {"PATH": "/nowhere"})

    (loss,) = found.losses
    assert loss.kind == "manifest-unverified"
    assert "git not found" in loss.message


def test_work_tree_of_an_agent_has_its_own_manifest(git: Git) -> None:
    """The gate reads the main work tree's manifest, and names the agent's if it differs."""
    tree = add_worktree(git)

    assert inspect(tree, {}) == ([], [])
    assert discovery.locate_manifest(tree.top, {}) == git.top / SMOKE
    assert find_own_manifest(tree.top, {}) == tree.top / SMOKE
    assert find_own_manifest(tree.top, {"WG_DIR": str(git.top / ".wg")}) == tree.top / SMOKE
    (tree.top / SMOKE).write_text(ENTRY + WEAK)
    assert inspect(tree, {}) == ([], ["manifest-differs"])


def test_own_manifest_is_one_that_git_tracks(git: Git) -> None:
    """A manifest that git does not know never stands for the one in review."""
    write(git.top / GRAPH, WEAK)

    assert discovery.locate_manifest(git.top, {}) == git.top / GRAPH
    assert find_own_manifest(git.top, {}) == git.top / SMOKE


def test_own_manifest_is_never_a_mirror(git: Git) -> None:
    """With a bridge in the environment, even an outdated one, the source is found."""
    bridge = git.top / ".isosmoke/bridge.toml"
    bridge.parent.mkdir()
    bridge.write_text(mirror_text.render(loader.load(git.top / SMOKE), "bridge.sh"))
    (git.top / SMOKE).write_text(ENTRY + WEAK)

    assert find_own_manifest(git.top, {"WG_SMOKE_MANIFEST": str(bridge)}) == git.top / SMOKE


def test_projects_of_one_repository_have_their_own_manifests(git: Git) -> None:
    """In a monorepo, a project's manifest hides none of another project."""
    for name in ("a", "b"):
        write(git.top / name / SMOKE)
        (git.top / name / ".wg").mkdir()
    git.commit("monorepo")
    inner = git.top / "a"
    path = discovery.locate_manifest(inner, {})

    assert path == inner / SMOKE
    assert inspect_manifest(path, inner, {}).losses == ()
    assert find_own_manifest(inner, {}) == inner / SMOKE
    assert find_own_manifest(git.top, {}) == git.top / SMOKE


def test_directory_without_a_manifest_is_an_error(tmp_path: Path) -> None:
    """A project without a manifest is an error that says what to do."""
    git = Git(tmp_path / "empty")

    with pytest.raises(ManifestError, match="no manifest found") as raised:
        find_own_manifest(git.top, {})
    assert "isosmoke init" in raised.value.hint
