"""The workspace of a scenario, with real git repositories."""

import os
import subprocess
from pathlib import Path

import pytest

from isosmoke.errors import ExitCode, UsageError
from isosmoke.host import workspace_directories
from isosmoke.host.workspace_directories import Workspace


def git(directory: Path, *arguments: str) -> str:
    """Run git in a directory with only these settings, and return its stdout."""
    settings = ("user.name=t", "user.email=t@t", "protocol.file.allow=always", "gc.auto=0")
    options = [option for setting in settings for option in ("-c", setting)]
    environment = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", *options, *arguments]
    return subprocess.run(
        command, cwd=directory, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


def create_repository(directory: Path) -> Path:
    """Create a repository with one commit."""
    directory.mkdir(parents=True)
    git(directory, "init", "--quiet")
    (directory / "file").write_text("text\n")
    git(directory, "add", "file")
    git(directory, "commit", "--quiet", "--message", "one")
    return directory


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return the caller's home, which contains none of the tests' repositories."""
    directory = tmp_path / "home" / "user"
    directory.mkdir(parents=True)
    return directory


def find(working: Path, home: Path, manifest: Path | None = None) -> Workspace:
    """Return the workspace; assert that each of its directories can be mounted."""
    workspace = workspace_directories.find_workspace(working, manifest, home=home)
    for directory in (*workspace.directories, *workspace.borrowed_objects):
        assert directory.is_dir()
        assert directory == directory.resolve()
    assert any(workspace.working.is_relative_to(directory) for directory in workspace.directories)
    return workspace


def test_repository_is_found_from_a_subdirectory(tmp_path: Path, home: Path) -> None:
    """From a subdirectory, the workspace is the whole repository."""
    top = create_repository(tmp_path / "repo")
    deep = top / "a" / "b"
    deep.mkdir(parents=True)

    assert find(deep, home) == Workspace((top,), (), deep)
    assert find(deep, home, top / "a") == Workspace((top,), (), deep)
    assert workspace_directories.git_top(deep) == top


def test_worktree_has_the_common_git_directory(tmp_path: Path, home: Path) -> None:
    """The workspace of a worktree has the common git directory, but not the main work tree."""
    main = create_repository(tmp_path / "main")
    tree = tmp_path / "trees" / "one"
    git(main, "worktree", "add", "--quiet", str(tree))
    common = Path(git(tree, "rev-parse", "--git-common-dir"))

    assert common == main / ".git"
    assert find(tree, home) == Workspace((common, tree), (), tree)


def test_worktree_inside_its_repository_has_the_common_git_directory(
    tmp_path: Path, home: Path
) -> None:
    """The workspace of a worktree below the main work tree does not contain the main one."""
    main = create_repository(tmp_path / "main")
    tree = main / ".wg-worktrees" / "agent-1"
    git(main, "worktree", "add", "--quiet", str(tree))

    assert find(tree, home) == Workspace((main / ".git", tree), (), tree)


def test_worktree_of_a_bare_repository_has_it(tmp_path: Path, home: Path) -> None:
    """The common git directory of a worktree may be a bare repository."""
    main = create_repository(tmp_path / "main")
    git(tmp_path, "clone", "--quiet", "--bare", str(main), "bare.git")
    tree = tmp_path / "tree"
    git(tmp_path / "bare.git", "worktree", "add", "--quiet", str(tree))

    assert find(tree, home).directories == (tmp_path / "bare.git", tree)


def test_submodule_has_its_git_directory(tmp_path: Path, home: Path) -> None:
    """The git directory of a submodule is inside the outer repository."""
    library, outer = create_repository(tmp_path / "library"), create_repository(tmp_path / "outer")
    git(outer, "submodule", "--quiet", "add", str(library), "sub")

    workspace = find(outer / "sub", home)

    assert workspace == Workspace((outer / ".git/modules/sub", outer / "sub"), (), outer / "sub")
    assert Path(git(outer / "sub", "rev-parse", "--absolute-git-dir")) in workspace.directories


def test_separate_git_directory_is_included(tmp_path: Path, home: Path) -> None:
    """A git directory in another directory, or behind a link, is part of the workspace."""
    for name in ("separate", "linked"):
        (tmp_path / name).mkdir()
    git(tmp_path / "separate", "init", "--quiet", "--separate-git-dir", str(tmp_path / "store"))
    (tmp_path / "linked" / ".git").symlink_to(tmp_path / "store")

    assert find(tmp_path / "separate", home).directories == (
        tmp_path / "separate",
        tmp_path / "store",
    )
    assert find(tmp_path / "linked", home).directories == (tmp_path / "linked", tmp_path / "store")


def test_shared_clone_borrows_objects(tmp_path: Path, home: Path) -> None:
    """A clone that borrows another repository's objects gets only these, read-only."""
    main = create_repository(tmp_path / "main")
    git(tmp_path, "clone", "--quiet", "--shared", str(main), "clone")

    workspace = find(tmp_path / "clone", home)

    assert workspace.directories == (tmp_path / "clone",)
    assert workspace.borrowed_objects == (main / ".git/objects",)


def test_borrowed_objects_are_followed_recursively(tmp_path: Path, home: Path) -> None:
    """A shared clone of a shared clone needs the objects of both, because git reads both."""
    main = create_repository(tmp_path / "main")
    git(tmp_path, "clone", "--quiet", "--shared", str(main), "first")
    git(tmp_path, "clone", "--quiet", "--shared", "first", "second")

    assert set(find(tmp_path / "second", home).borrowed_objects) == {
        tmp_path / "first/.git/objects",
        main / ".git/objects",
    }


def test_alternates_may_be_relative_missing_or_circular(tmp_path: Path, home: Path) -> None:
    """Alternates are relative to the objects; missing ones, comments and cycles are ignored."""
    first, other = create_repository(tmp_path / "one"), create_repository(tmp_path / "other")
    alternate = "../../../{}/.git/objects\n"
    lines = alternate.format("other") + "/gone/objects\n\n# a comment\n"
    (first / ".git/objects/info/alternates").write_text(lines)
    (other / ".git/objects/info/alternates").write_text(alternate.format("one"))

    assert other / ".git/objects" in find(first, home).borrowed_objects


def test_workspace_outside_a_repository_is_the_manifests_directory(
    tmp_path: Path, home: Path
) -> None:
    """Without a repository, the manifest's directory is workspace and working directory."""
    manifest, elsewhere = tmp_path / "scenarios", tmp_path / "elsewhere"
    manifest.mkdir()
    elsewhere.mkdir()
    (manifest / "sub").mkdir()

    assert find(elsewhere, home, manifest) == Workspace((manifest,), (), manifest)
    assert find(manifest / "sub", home, manifest) == Workspace((manifest,), (), manifest / "sub")


def test_workspace_without_a_manifest_is_the_working_directory(tmp_path: Path, home: Path) -> None:
    """Without a repository and a manifest, the workspace is the caller's working directory."""
    directory = tmp_path / "directory"
    directory.mkdir()

    assert find(directory, home) == Workspace((directory,), (), directory)


def test_repository_of_the_manifest_is_included(tmp_path: Path, home: Path) -> None:
    """A manifest in another repository adds that repository; outside one, its directory."""
    own, other = create_repository(tmp_path / "own"), create_repository(tmp_path / "other")
    plain = tmp_path / "plain"
    for directory in (other / "tests", plain):
        directory.mkdir()

    assert find(own, home, other / "tests") == Workspace((other, own), (), own)
    assert find(own, home, plain) == Workspace((own, plain), (), own)


def test_manifest_in_a_repository_for_a_caller_outside(tmp_path: Path, home: Path) -> None:
    """For a caller outside any repository, the workspace is the manifest's whole repository."""
    repository, outside = create_repository(tmp_path / "repository"), tmp_path / "outside"
    (repository / "tests").mkdir()
    outside.mkdir()

    assert find(outside, home, repository / "tests") == Workspace((repository,), (), repository)


def test_nested_repository_is_mounted_once(tmp_path: Path, home: Path) -> None:
    """A repository inside another one is mounted with the outer one if both are needed."""
    outer = create_repository(tmp_path / "outer")
    inner = create_repository(outer / "inner")

    assert find(inner, home, outer).directories == (outer,)
    assert find(inner, home, outer).working == inner
    assert find(outer, home, inner) == Workspace((outer,), (), outer)


def test_repository_in_home_itself_is_ignored(tmp_path: Path, home: Path) -> None:
    """If HOME is a repository, the workspace is the working directory, not HOME."""
    git(home, "init", "--quiet")
    (home / "notes").mkdir()
    project = create_repository(home / "project")

    assert find(home / "notes", home) == Workspace((home / "notes",), (), home / "notes")
    assert find(project, home) == Workspace((project,), (), project)
    workspace = find(tmp_path, home, home / "notes")
    assert workspace == Workspace((home / "notes",), (), home / "notes")


@pytest.mark.parametrize("up", [0, 1])
def test_home_and_its_parents_are_refused(home: Path, up: int) -> None:
    """HOME or a directory above it is never the workspace of a scenario."""
    directory = (home, *home.parents)[up]
    for manifest in (None, directory):
        with pytest.raises(UsageError, match="home directory") as caught:
            workspace_directories.find_workspace(directory, manifest, home=home)
        assert str(directory) in caught.value.message
        assert caught.value.hint
        assert caught.value.exit_code is ExitCode.USAGE


def test_manifest_in_home_itself_is_refused(tmp_path: Path, home: Path) -> None:
    """A manifest in HOME itself would add HOME, so it is refused even in a repository."""
    own = create_repository(tmp_path / "own")

    with pytest.raises(UsageError):
        workspace_directories.find_workspace(own, home, home=home)


def test_root_is_refused(home: Path) -> None:
    """`/` is never a workspace, whatever HOME is, even if HOME does not exist."""
    for other_home in (home, Path("/home/isosmoke"), Path("/")):
        with pytest.raises(UsageError):
            workspace_directories.find_workspace(Path("/"), None, home=other_home)


def test_linked_home_is_refused_under_both_names(tmp_path: Path, home: Path) -> None:
    """If HOME is a link, both the link and its target are refused."""
    link = tmp_path / "link"
    link.symlink_to(home)

    for directory in (home, link):
        with pytest.raises(UsageError):
            workspace_directories.find_workspace(directory, None, home=link)


def test_links_to_a_repository_are_followed(tmp_path: Path, home: Path) -> None:
    """Paths are resolved if the caller's directory is reached through a link, as by git."""
    top = create_repository(tmp_path / "repo")
    (tmp_path / "link").symlink_to(top)

    assert find(tmp_path / "link", home, tmp_path / "link") == Workspace((top,), (), top)


def test_links_into_the_workspace_are_found(tmp_path: Path, home: Path) -> None:
    """A link counts wherever it is on the way, unless the workspace's copy contains it."""
    top = create_repository(tmp_path / "real/repo")
    (top / "sub").mkdir()
    (top / "inner").symlink_to("sub")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "deep").symlink_to(tmp_path / "link/repo/sub")
    workspace = find(top, home)

    def find_links(*paths: Path) -> dict[Path, Path]:
        return dict(workspace_directories.add_links(workspace, paths, home).links)

    assert find_links(tmp_path / "link/repo/sub/file") == {tmp_path / "link/repo": top}
    assert find_links(tmp_path / "deep/file") == {tmp_path / "deep": top / "sub"}
    assert find_links(tmp_path / "deep/../../../link/repo") == {tmp_path / "link/repo": top}
    assert not find_links(top / "inner", top / "file", tmp_path / "link", Path("relative"))


def test_workspace_is_found_below_a_linked_home(tmp_path: Path) -> None:
    """If HOME is a link, the workspace also exists below it."""
    top = create_repository(tmp_path / "var/user/repo")
    (tmp_path / "homes").symlink_to("var")
    named = tmp_path / "homes/user"
    workspace = workspace_directories.add_links(find(top, named), (), named)
    assert workspace.links == ((named / "repo", top),)
