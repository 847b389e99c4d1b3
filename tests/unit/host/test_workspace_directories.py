"""Which folders a scenario works in, with repositories that git itself made."""

import os
import subprocess
from pathlib import Path

import pytest

from isosmoke.errors import ExitCode, UsageError
from isosmoke.host import workspace_directories
from isosmoke.host.workspace_directories import Workspace


def git(folder: Path, *words: str) -> str:
    """Run git in this folder, as somebody, with no settings but its own."""
    settings = ("user.name=t", "user.email=t@t", "protocol.file.allow=always", "gc.auto=0")
    options = [word for setting in settings for word in ("-c", setting)]
    environment = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", *options, *words]
    return subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


def repository(folder: Path) -> Path:
    """A new repository with one commit."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet")
    (folder / "file").write_text("text\n")
    git(folder, "add", "file")
    git(folder, "commit", "--quiet", "--message", "one")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The caller's home, beside and not above what the tests make."""
    folder = tmp_path / "home" / "user"
    folder.mkdir(parents=True)
    return folder


def found(working: Path, home: Path, manifest: Path | None = None) -> Workspace:
    """The workspace, and that every folder of it can be mounted as it is."""
    told = workspace_directories.find(working, manifest, home=home)
    for folder in (*told.folders, *told.borrowed):
        assert folder.is_dir()
        assert folder == folder.resolve()
    assert any(told.working.is_relative_to(folder) for folder in told.folders)
    return told


def test_repository_is_found_from_any_folder_in_it(tmp_path: Path, home: Path) -> None:
    """From deep inside, the whole repository comes, and the working folder stays."""
    top = repository(tmp_path / "repo")
    deep = top / "a" / "b"
    deep.mkdir(parents=True)

    assert found(deep, home) == Workspace((top,), (), deep)
    assert found(deep, home, top / "a") == Workspace((top,), (), deep)
    assert workspace_directories.git_top(deep) == top


def test_worktree_brings_the_git_folder_it_shares(tmp_path: Path, home: Path) -> None:
    """In a worktree, its own folder and the common git folder come, the main work tree does not."""
    main = repository(tmp_path / "main")
    tree = tmp_path / "trees" / "one"
    git(main, "worktree", "add", "--quiet", str(tree))
    common = Path(git(tree, "rev-parse", "--git-common-dir"))

    assert common == main / ".git"
    assert found(tree, home) == Workspace((common, tree), (), tree)


def test_worktree_inside_its_repository_needs_no_more(tmp_path: Path, home: Path) -> None:
    """A worktree below the main work tree comes with the common git folder alone."""
    main = repository(tmp_path / "main")
    tree = main / ".wg-worktrees" / "agent-1"
    git(main, "worktree", "add", "--quiet", str(tree))

    assert found(tree, home) == Workspace((main / ".git", tree), (), tree)


def test_worktree_of_a_bare_repository_brings_it(tmp_path: Path, home: Path) -> None:
    """Where the shared git folder is a bare repository, that is what comes beside the worktree."""
    main = repository(tmp_path / "main")
    git(tmp_path, "clone", "--quiet", "--bare", str(main), "bare.git")
    tree = tmp_path / "tree"
    git(tmp_path / "bare.git", "worktree", "add", "--quiet", str(tree))

    assert found(tree, home).folders == (tmp_path / "bare.git", tree)


def test_submodule_brings_its_git_folder(tmp_path: Path, home: Path) -> None:
    """In a submodule, its git folder comes from inside the outer repository."""
    library, outer = repository(tmp_path / "library"), repository(tmp_path / "outer")
    git(outer, "submodule", "--quiet", "add", str(library), "sub")

    told = found(outer / "sub", home)

    assert told == Workspace((outer / ".git/modules/sub", outer / "sub"), (), outer / "sub")
    assert Path(git(outer / "sub", "rev-parse", "--absolute-git-dir")) in told.folders


def test_separate_git_folder_comes_too(tmp_path: Path, home: Path) -> None:
    """A git folder that was made elsewhere, or is linked to, is part of the workspace."""
    for name in ("apart", "linked"):
        (tmp_path / name).mkdir()
    git(tmp_path / "apart", "init", "--quiet", "--separate-git-dir", str(tmp_path / "store"))
    (tmp_path / "linked" / ".git").symlink_to(tmp_path / "store")

    assert found(tmp_path / "apart", home).folders == (tmp_path / "apart", tmp_path / "store")
    assert found(tmp_path / "linked", home).folders == (tmp_path / "linked", tmp_path / "store")


def test_shared_clone_borrows_objects(tmp_path: Path, home: Path) -> None:
    """A clone that borrows another repository's objects gets them, read-only, and nothing else."""
    main = repository(tmp_path / "main")
    git(tmp_path, "clone", "--quiet", "--shared", str(main), "clone")

    told = found(tmp_path / "clone", home)

    assert told.folders == (tmp_path / "clone",)
    assert told.borrowed == (main / ".git/objects",)


def test_borrowed_objects_are_followed_to_their_end(tmp_path: Path, home: Path) -> None:
    """A shared clone of a shared clone needs the objects of both, since git reads all of them."""
    main = repository(tmp_path / "main")
    git(tmp_path, "clone", "--quiet", "--shared", str(main), "first")
    git(tmp_path, "clone", "--quiet", "--shared", "first", "second")

    assert set(found(tmp_path / "second", home).borrowed) == {
        tmp_path / "first/.git/objects",
        main / ".git/objects",
    }


def test_alternates_may_be_relative_missing_or_circular(tmp_path: Path, home: Path) -> None:
    """Alternates start at the objects folder; missing ones, comments and circles do no harm."""
    one, other = repository(tmp_path / "one"), repository(tmp_path / "other")
    there = "../../../{}/.git/objects\n"
    lines = there.format("other") + "/gone/objects\n\n# a comment\n"
    (one / ".git/objects/info/alternates").write_text(lines)
    (other / ".git/objects/info/alternates").write_text(there.format("one"))

    assert other / ".git/objects" in found(one, home).borrowed


def test_outside_a_repository_it_is_the_manifests_folder(tmp_path: Path, home: Path) -> None:
    """Without a repository the manifest's folder is the workspace, and the place to stand in."""
    manifest, elsewhere = tmp_path / "scenarios", tmp_path / "elsewhere"
    manifest.mkdir()
    elsewhere.mkdir()
    (manifest / "sub").mkdir()

    assert found(elsewhere, home, manifest) == Workspace((manifest,), (), manifest)
    assert found(manifest / "sub", home, manifest) == Workspace((manifest,), (), manifest / "sub")


def test_bare_command_works_where_it_stands(tmp_path: Path, home: Path) -> None:
    """Without a repository and a manifest it is the folder that the caller stands in."""
    folder = tmp_path / "folder"
    folder.mkdir()

    assert found(folder, home) == Workspace((folder,), (), folder)


def test_manifest_elsewhere_brings_its_repository(tmp_path: Path, home: Path) -> None:
    """A manifest of another repository brings that one too, or its folder where there is none."""
    here, there = repository(tmp_path / "here"), repository(tmp_path / "there")
    plain = tmp_path / "plain"
    for folder in (there / "tests", plain):
        folder.mkdir()

    assert found(here, home, there / "tests") == Workspace((here, there), (), here)
    assert found(here, home, plain) == Workspace((here, plain), (), here)


def test_manifest_of_a_repository_brings_it_to_whoever_stands_outside(
    tmp_path: Path, home: Path
) -> None:
    """Called from no repository, a manifest that lies in one brings that one whole."""
    there, outside = repository(tmp_path / "there"), tmp_path / "outside"
    (there / "tests").mkdir()
    outside.mkdir()

    assert found(outside, home, there / "tests") == Workspace((there,), (), there)


def test_nested_folders_collapse(tmp_path: Path, home: Path) -> None:
    """A repository in a repository is mounted once, with the outer one, if both are needed."""
    outer = repository(tmp_path / "outer")
    inner = repository(outer / "inner")

    assert found(inner, home, outer).folders == (outer,)
    assert found(inner, home, outer).working == inner
    assert found(outer, home, inner) == Workspace((outer,), (), outer)


def test_home_as_repository_is_no_workspace(tmp_path: Path, home: Path) -> None:
    """Whoever keeps HOME in git does not get HOME for a workspace, but the folder at hand."""
    git(home, "init", "--quiet")
    (home / "notes").mkdir()
    project = repository(home / "project")

    assert found(home / "notes", home) == Workspace((home / "notes",), (), home / "notes")
    assert found(project, home) == Workspace((project,), (), project)
    told = found(tmp_path, home, home / "notes")
    assert told == Workspace((home / "notes",), (), home / "notes")


@pytest.mark.parametrize("up", [0, 1])
def test_home_and_what_holds_it_are_refused(home: Path, up: int) -> None:
    """Neither HOME nor a folder above it is ever handed to a scenario, for whatever reason."""
    folder = (home, *home.parents)[up]
    for manifest in (None, folder):
        with pytest.raises(UsageError, match="home directory") as caught:
            workspace_directories.find(folder, manifest, home=home)
        assert str(folder) in caught.value.message
        assert caught.value.hint
        assert caught.value.exit_code is ExitCode.USAGE


def test_manifest_in_home_is_refused_from_anywhere(tmp_path: Path, home: Path) -> None:
    """A manifest in HOME itself would bring HOME, so it is refused from a repository too."""
    here = repository(tmp_path / "here")

    with pytest.raises(UsageError):
        workspace_directories.find(here, home, home=home)


def test_root_is_refused(home: Path) -> None:
    """`/` is never a workspace, whatever HOME is, even if that is not there."""
    for one in (home, Path("/home/isosmoke"), Path("/")):
        with pytest.raises(UsageError):
            workspace_directories.find(Path("/"), None, home=one)


def test_home_behind_a_link_is_refused_by_both_names(tmp_path: Path, home: Path) -> None:
    """A HOME that is a link is still HOME where it leads."""
    link = tmp_path / "link"
    link.symlink_to(home)

    for folder in (home, link):
        with pytest.raises(UsageError):
            workspace_directories.find(folder, None, home=link)


def test_links_are_followed_to_the_repository(tmp_path: Path, home: Path) -> None:
    """A caller who stands behind a link works where it leads, so that paths agree with git's."""
    top = repository(tmp_path / "repo")
    (tmp_path / "link").symlink_to(top)

    assert found(tmp_path / "link", home, tmp_path / "link") == Workspace((top,), (), top)
