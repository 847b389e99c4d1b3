"""A manifest in a real repository, beside what it was, and the commits in between."""

from pathlib import Path

import pytest

from isosmoke.authoring.manifest_comparison import Comparison, compare
from isosmoke.errors import ManifestError, UsageError
from support.git_repositories import Git

ENTRY = '[[scenario]]\nname = "one"\nscript = "one.sh"\nowners = ["a", "b"]\ntimeout_seconds = 60\n'
LESS = ENTRY.replace('["a", "b"]', '["a"]')
OTHER = '[[scenario]]\nname = "two"\nscript = "one.sh"\n'


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """A repository on a branch that begins with a manifest of one scenario."""
    git = Git(tmp_path / "project")
    git.commit("base", manifest_toml=ENTRY, one_sh="wg one\n")
    git("checkout", "-q", "-b", "feature")
    return git


def compared(git: Git, against: str | None = None) -> Comparison:
    """The manifest at the top, beside the base of the branch or `against`."""
    return compare(git.top / "manifest.toml", against)


def culprits(git: Git, against: str | None = None) -> list[str]:
    """Each loss, with who did it."""
    return [f"{one.loss} ({one.culprit})" for one in compared(git, against).blamed]


def test_nothing_changed_is_nothing_lost(git: Git) -> None:
    """A branch that left the manifest alone has lost nothing."""
    git.commit("elsewhere", other_txt="x")

    assert (compared(git).before, compared(git).after, culprits(git)) == (1, 1, [])


def test_a_new_manifest_has_nothing_to_lose(git: Git) -> None:
    """A manifest that was not there at the base is fine."""
    (git.top / "more").mkdir()
    (git.top / "more/manifest.toml").write_text(OTHER.replace("one.sh", "../one.sh"))

    comparison = compare(git.top / "more/manifest.toml", None)

    assert (comparison.before, comparison.after, comparison.blamed) == (0, 1, ())


def test_a_manifest_before_the_first_commit_is_new(tmp_path: Path) -> None:
    """A repository without a commit can make its first one."""
    git = Git(tmp_path / "empty")
    git.write(manifest_toml=ENTRY, one_sh="wg")

    assert (compared(git).before, culprits(git)) == (0, [])


def test_a_loss_names_its_commit(git: Git) -> None:
    """Of many commits the one is named in which the loss began."""
    git.commit("innocent", manifest_toml=ENTRY + OTHER)
    guilty = git.commit("guilty", manifest_toml=LESS + OTHER)
    git.commit("later", manifest_toml=LESS + OTHER + "# more\n")

    assert culprits(git) == [f"scenario 'one': lost owner 'b' (commit {guilty[:7]} \"guilty\")"]


def test_a_loss_in_the_work_tree_is_not_committed(git: Git) -> None:
    """What no commit has yet is told as such, before it is committed."""
    git.write(manifest_toml=LESS)

    assert culprits(git) == ["scenario 'one': lost owner 'b' (not committed yet)"]


def test_each_loss_has_a_commit_of_its_own(git: Git) -> None:
    """Two losses by two commits are not one's fault."""
    first = git.commit("fewer owners", manifest_toml=LESS)
    second = git.commit("emptied", one_sh="exit 77\n")
    emptied = "script 'one.sh' was emptied: it cannot fail"

    assert culprits(git) == [
        f"scenario 'one': lost owner 'b' (commit {first[:7]} \"fewer owners\")",
        f"scenario 'one': {emptied} (commit {second[:7]} \"emptied\")",
    ]


def test_a_loss_that_was_made_good_is_no_loss(git: Git) -> None:
    """Only what is missing now counts, and of two commits the one whose loss lasts."""
    git.commit("first", manifest_toml=LESS)
    git.commit("mended", manifest_toml=ENTRY)
    assert culprits(git) == []

    again = git.commit("again", manifest_toml=LESS)

    assert culprits(git)[0].endswith(f'(commit {again[:7]} "again")')


def test_a_number_that_shrinks_twice_began_once(git: Git) -> None:
    """The commit that first made a deadline shorter is to blame, not one that mended half of it."""
    first = git.commit("first", manifest_toml=ENTRY.replace("60", "20"))
    git.commit("second", manifest_toml=ENTRY.replace("60", "30"))

    assert culprits(git) == [
        f"scenario 'one': timeout_seconds shortened from 60 to 30 (commit {first[:7]} \"first\")"
    ]


def test_a_merge_does_not_hide_who_did_it(git: Git) -> None:
    """A commit on a side branch is named, not the merge that brought it."""
    git("checkout", "-q", "-b", "side")
    guilty = git.commit("guilty", manifest_toml=LESS)
    git("checkout", "-q", "feature")
    git.commit("meanwhile", other_txt="x")
    git("merge", "-q", "--no-edit", "side")

    assert culprits(git)[0].endswith(f'(commit {guilty[:7]} "guilty")')


def test_a_merge_that_loses_something_is_named(git: Git) -> None:
    """Where no parent had lost it, the merge did; commits from before the base did not."""
    git("checkout", "-q", "main")
    git.commit("two", manifest_toml=ENTRY + OTHER)
    git("checkout", "-q", "feature")
    git.commit("innocent", other_txt="x")
    git("merge", "-q", "--no-edit", "--strategy=ours", "main")
    merge = git("rev-parse", "--short", "HEAD")

    assert culprits(git) == [
        f"scenario 'two': lost (commit {merge} \"Merge branch 'main' into feature\")"
    ]


def test_what_the_branch_never_had_is_no_commit_s_fault(git: Git) -> None:
    """Beside a revision that went on elsewhere, what is missing was not taken away here."""
    git("checkout", "-q", "main")
    git.commit("two", manifest_toml=ENTRY + OTHER)
    git("checkout", "-q", "feature")
    git.commit("innocent", manifest_toml=ENTRY + "# words\n")

    assert culprits(git) == []
    assert culprits(git, "main") == ["scenario 'two': lost (this branch never had it)"]


def test_a_script_that_was_removed_is_a_loss(git: Git) -> None:
    """A missing script is told with its commit, not as a mistake in the manifest."""
    guilty = git.commit("guilty", one_sh=None)

    assert culprits(git) == [
        f"scenario 'one': lost script 'one.sh' (commit {guilty[:7]} \"guilty\")"
    ]


def test_a_script_emptied_where_it_moved_to_names_who_emptied_it(git: Git) -> None:
    """The move is innocent, though only the new place was changed later."""
    moved = ENTRY.replace("one.sh", "uno.sh").replace('"one"', '"uno"\naliases = ["one"]')
    git.commit("moved", manifest_toml=moved, one_sh=None, uno_sh="wg one\n")
    guilty = git.commit("guilty", uno_sh="exit 0\n")

    emptied = "script 'uno.sh' was emptied: it cannot fail"
    assert culprits(git) == [f"scenario 'one': {emptied} (commit {guilty[:7]} \"guilty\")"]


def test_a_manifest_that_moved_is_the_same(git: Git) -> None:
    """To move it is fine; to lose something on the way is not, and the mover is named."""
    folder = git.top / "tests/smoke"
    folder.mkdir(parents=True)
    git("mv", "manifest.toml", "one.sh", "tests/smoke")
    moved = git.commit("moved")
    assert compare(folder / "manifest.toml", None).before == 1

    (folder / "manifest.toml").write_text(LESS)
    git("add", "--all")
    git("commit", "-q", "--amend", "--no-edit")
    moved = git("rev-parse", "--short", "HEAD")

    blamed = compare(folder / "manifest.toml", None).blamed
    assert [one.culprit for one in blamed] == [f'commit {moved} "moved"']


def test_a_manifest_that_vanished_is_looked_for_in_the_other(git: Git) -> None:
    """Of two manifests, the scenarios of the one that is gone must be in the one that is left."""
    folder = git.top / "tests/smoke"
    folder.mkdir(parents=True)
    (folder / "manifest.toml").write_text(OTHER)
    (folder / "one.sh").write_text("wg two")
    git.commit("two manifests")
    git("rm", "-q", "-r", "tests")

    assert culprits(git, "HEAD") == ["scenario 'two': lost (not committed yet)"]


def test_a_commit_that_nobody_could_read_held_nothing(git: Git) -> None:
    """A broken manifest in between stops no comparison."""
    git.commit("broken", manifest_toml="[[scenario")
    git.commit("mended", manifest_toml=ENTRY)
    guilty = git.commit("guilty", manifest_toml=LESS)

    assert culprits(git)[0].endswith(f'(commit {guilty[:7]} "guilty")')


def test_a_base_that_nobody_can_read_is_an_error(git: Git) -> None:
    """Against a broken manifest nothing can be shown, and nothing passes."""
    git.commit("broken", manifest_toml="[[scenario")
    git.commit("mended", manifest_toml=ENTRY)

    with pytest.raises(ManifestError, match=r"manifest\.toml") as raised:
        compared(git, "HEAD~1")

    assert "--against" in raised.value.hint


def test_a_manifest_that_cannot_run_does_not_pass(git: Git) -> None:
    """A new scenario without its script is a mistake, though nothing was lost."""
    git.write(manifest_toml=ENTRY + OTHER.replace("one.sh", "two.sh"))

    with pytest.raises(ManifestError, match=r"two\.sh"):
        compared(git)


def test_a_manifest_that_is_gone_has_lost_everything(git: Git) -> None:
    """To remove the manifest is to remove its scenarios."""
    git.write(manifest_toml=None)

    assert culprits(git) == ["scenario 'one': lost (not committed yet)"]


def test_a_manifest_that_never_was_is_an_error(git: Git) -> None:
    """A file that is neither there nor was is a mistake of the caller."""
    with pytest.raises(ManifestError, match=r"nowhere\.toml"):
        compare(git.top / "nowhere.toml", None)


def test_outside_a_repository_nothing_passes(tmp_path: Path) -> None:
    """Where there is no history, nobody can say that nothing was lost."""
    (tmp_path / "manifest.toml").write_text(ENTRY)

    with pytest.raises(UsageError, match="no git repository"):
        compare(tmp_path / "manifest.toml", None)


def test_a_worktree_is_a_repository(git: Git, tmp_path: Path) -> None:
    """Agents work in worktrees, where `.git` is a file."""
    tree = tmp_path / "tree"
    git("worktree", "add", "-q", "-b", "agent", str(tree))
    (tree / "manifest.toml").write_text(LESS)

    blamed = compare(tree / "manifest.toml", None).blamed
    assert [str(one.loss) for one in blamed] == ["scenario 'one': lost owner 'b'"]


def test_a_manifest_may_be_named_from_where_one_stands(
    git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path from the working folder, through a link, is the same manifest."""
    git.write(manifest_toml=LESS)
    (git.top.parent / "link").symlink_to(git.top)
    monkeypatch.chdir(git.top.parent)

    assert compare(Path("link/manifest.toml"), None).refused == 1
