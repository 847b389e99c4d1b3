"""Comparison of a manifest with its revisions in a real repository."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from isosmoke.authoring.growth import comparison
from isosmoke.authoring.growth.comparison import CheckRequest, Comparison
from isosmoke.errors import ManifestError, UsageError
from support.git_repositories import Git

ENTRY = '[[scenario]]\nname = "one"\nscript = "one.sh"\nowners = ["a", "b"]\ntimeout_seconds = 60\n'
LESS = ENTRY.replace('["a", "b"]', '["a"]')
OTHER = '[[scenario]]\nname = "two"\nscript = "one.sh"\n'


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Create a repository on a branch that starts with a manifest of one scenario."""
    return Git.copied(tmp_path / "project", fill)


def fill(git: Git) -> None:
    """Commit a manifest of one scenario, and start a branch."""
    git.commit("base", manifest_toml=ENTRY, one_sh="wg one\n")
    git("checkout", "-q", "-b", "feature")


def compare(path: Path, against: str | None = None) -> Comparison:
    """Compare a manifest and those at the usual places with the bases or `against`."""
    working = path.absolute().parent
    request = CheckRequest(working=working, environment={}, manifest=path, against=against)
    return comparison.compare(request)


def compare_top(
    git: Git, against: str | None = None, environment: Mapping[str, str] = MappingProxyType({})
) -> Comparison:
    """Compare the manifests at the usual places with the bases or `against`."""
    request = CheckRequest(working=git.top, environment=environment, against=against)
    return comparison.compare(request)


def list_kinds(
    git: Git, against: str | None = None, environment: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """Return the kind of each finding; that of a note after the word."""
    found = compare_top(git, against, environment).blamed
    return [f"{'' if item.loss.refused else 'note: '}{item.loss.kind}" for item in found]


def list_culprits(git: Git, against: str | None = None) -> list[str]:
    """Return each loss with its culprit."""
    return [f"{blamed.loss} ({blamed.culprit})" for blamed in compare_top(git, against).blamed]


def test_unchanged_manifest_has_no_losses(git: Git) -> None:
    """A branch that does not change the manifest has no losses."""
    git.commit("elsewhere", other_txt="x")

    assert (compare_top(git).before, compare_top(git).after, list_culprits(git)) == (1, 1, [])


def test_new_manifest_has_no_losses(git: Git) -> None:
    """A manifest that did not exist at the base has no losses."""
    git.commit("elsewhere", other_txt="x")
    (git.top / "more").mkdir()
    (git.top / "more/manifest.toml").write_text(OTHER.replace("one.sh", "../one.sh"))

    comparison = compare(git.top / "more/manifest.toml", None)

    assert (comparison.before, comparison.after, comparison.blamed) == (1, 2, ())


def test_comparison_before_the_first_commit_is_a_loss(tmp_path: Path) -> None:
    """A repository without commits, which anyone can create, has nothing to compare with."""
    git = Git(tmp_path / "empty")
    git.write(manifest_toml=ENTRY, one_sh="wg")

    assert list_kinds(git) == ["nothing-compared"]


def test_comparison_in_the_first_commit_is_a_loss(git: Git) -> None:
    """A repository with one commit can only be compared with itself."""
    assert list_kinds(git) == ["self-compared"]
    assert list_kinds(git, "HEAD") == ["self-compared"]


def test_comparison_with_the_only_commit_is_noted(git: Git) -> None:
    """Before the second commit, the work tree is compared with HEAD, which is noted."""
    git.write(manifest_toml=ENTRY + OTHER)

    assert list_kinds(git) == ["note: head-compared"]


def test_first_manifest_is_noted(tmp_path: Path) -> None:
    """A manifest is the first one only if no commit before the base had one."""
    git = Git(tmp_path / "project")
    git.commit("base", other_txt="x")
    git("checkout", "-q", "-b", "feature")
    git.commit("adopt", manifest_toml=ENTRY, one_sh="wg one\n")
    assert list_kinds(git) == ["note: manifest-first"]

    git("checkout", "-q", "main")
    git("merge", "-q", "feature")
    git.commit("removed", manifest_toml=None)
    git("update-ref", "refs/remotes/origin/main", "main")
    git("checkout", "-q", "-b", "again")
    git.commit("again", manifest_toml=ENTRY)
    assert "nothing-compared" in list_kinds(git)


def test_loss_names_its_commit(git: Git) -> None:
    """The commit that caused the loss is named, not an earlier or later one."""
    git.commit("innocent", manifest_toml=ENTRY + OTHER)
    guilty = git.commit("guilty", manifest_toml=LESS + OTHER)
    git.commit("later", manifest_toml=LESS + OTHER + "# more\n")

    assert list_culprits(git) == [
        f"scenario 'one': lost owner 'b' (commit {guilty[:7]} \"guilty\")"
    ]


def test_loss_in_the_work_tree_is_not_committed(git: Git) -> None:
    """A loss that is not committed is reported as such."""
    git.write(manifest_toml=LESS)

    assert list_culprits(git) == ["scenario 'one': lost owner 'b' (not committed yet)"]


def test_each_loss_names_its_own_commit(git: Git) -> None:
    """Two losses by two commits name both commits."""
    first = git.commit("fewer owners", manifest_toml=LESS)
    second = git.commit("emptied", one_sh="exit 77\n")
    emptied = "script 'one.sh' was emptied: it cannot fail"

    assert list_culprits(git) == [
        f"scenario 'one': lost owner 'b' (commit {first[:7]} \"fewer owners\")",
        f"scenario 'one': {emptied} (commit {second[:7]} \"emptied\")",
    ]


def test_reverted_loss_is_not_reported(git: Git) -> None:
    """A reverted loss is not reported; if it recurs, the later commit is named."""
    git.commit("first", manifest_toml=LESS)
    git.commit("repaired", manifest_toml=ENTRY)
    assert list_culprits(git) == []

    again = git.commit("again", manifest_toml=LESS)

    assert list_culprits(git)[0].endswith(f'(commit {again[:7]} "again")')


def test_first_commit_that_lowers_a_number_is_named(git: Git) -> None:
    """The commit that first lowered a timeout is named, not one that raised it in part."""
    first = git.commit("first", manifest_toml=ENTRY.replace("60", "20"))
    culprit = f'commit {first[:7]} "first"'
    git.commit("second", manifest_toml=ENTRY.replace("60", "30"))

    assert list_culprits(git) == [
        f"scenario 'one': timeout_seconds changed from 60 to 30: review it ({culprit})"
    ]


def test_loss_on_merged_branch_names_its_commit(git: Git) -> None:
    """The commit on a side branch is named, not the merge."""
    git("checkout", "-q", "-b", "side")
    guilty = git.commit("guilty", manifest_toml=LESS)
    git("checkout", "-q", "feature")
    git.commit("meanwhile", other_txt="x")
    git("merge", "-q", "--no-edit", "side")

    assert list_culprits(git)[0].endswith(f'(commit {guilty[:7]} "guilty")')


def test_merge_that_causes_a_loss_is_named(git: Git) -> None:
    """A merge is named if none of its parents has the loss."""
    git("checkout", "-q", "main")
    git.commit("two", manifest_toml=ENTRY + OTHER)
    git("checkout", "-q", "feature")
    git.commit("innocent", other_txt="x")
    git("merge", "-q", "--no-edit", "--strategy=ours", "main")
    merge = git("rev-parse", "--short", "HEAD")

    assert list_culprits(git) == [
        f"scenario 'two': lost (commit {merge} \"Merge branch 'main' into feature\")"
    ]


def test_scenario_that_the_branch_never_had_names_no_commit(git: Git) -> None:
    """Compared with a diverged revision, a missing scenario was not removed by this branch."""
    git("checkout", "-q", "main")
    git.commit("two", manifest_toml=ENTRY + OTHER)
    git("checkout", "-q", "feature")
    git.commit("innocent", manifest_toml=ENTRY + "# text\n")

    assert list_culprits(git) == []
    assert list_culprits(git, "main") == ["scenario 'two': lost (never present on this branch)"]


def test_removed_script_is_a_loss(git: Git) -> None:
    """A missing script is reported as a loss with its commit, not as a mistake."""
    guilty = git.commit("guilty", one_sh=None)

    assert list_culprits(git) == [
        f"scenario 'one': lost script 'one.sh' (commit {guilty[:7]} \"guilty\")"
    ]


def test_script_emptied_after_move_names_emptying_commit(git: Git) -> None:
    """The commit that emptied a script is named, not the one that moved it."""
    moved = ENTRY.replace("one.sh", "uno.sh").replace('"one"', '"uno"\naliases = ["one"]')
    git.commit("moved", manifest_toml=moved, one_sh=None, uno_sh="wg one\n")
    guilty = git.commit("guilty", uno_sh="exit 0\n")

    emptied = "script 'uno.sh' was emptied: it cannot fail"
    assert list_culprits(git) == [f"scenario 'one': {emptied} (commit {guilty[:7]} \"guilty\")"]


def test_moved_manifest_is_a_loss(git: Git) -> None:
    """Moving a manifest is a loss, and so is a loss in the same commit."""
    directory = git.top / "tests/smoke"
    directory.mkdir(parents=True)
    git("mv", "manifest.toml", "one.sh", "tests/smoke")
    moved = git.commit("moved")
    (blamed,) = compare(directory / "manifest.toml", None).blamed
    assert (blamed.loss.kind, blamed.culprit) == (
        "manifest-moved",
        f'commit {moved[:7]} "moved"',
    )

    (directory / "manifest.toml").write_text(LESS)
    git("add", "--all")
    git("commit", "-q", "--amend", "--no-edit")
    moved = git("rev-parse", "--short", "HEAD")

    found = compare(directory / "manifest.toml", None).blamed
    assert {item.loss.kind for item in found} == {"manifest-moved", "owner-lost"}
    assert {item.culprit for item in found} == {f'commit {moved} "moved"'}


def test_scenarios_of_removed_manifest_must_be_in_the_other(git: Git) -> None:
    """If one of two manifests is removed, its scenarios must be in the other one."""
    directory = git.top / "tests/smoke"
    directory.mkdir(parents=True)
    (directory / "manifest.toml").write_text(OTHER)
    (directory / "one.sh").write_text("wg two")
    git.commit("two manifests")
    git("rm", "-q", "-r", "tests")

    assert list_culprits(git, "HEAD") == ["scenario 'two': lost (not committed yet)"]


def test_commit_with_broken_manifest_is_skipped(git: Git) -> None:
    """A broken manifest in between does not stop the comparison."""
    git.commit("broken", manifest_toml="[[scenario")
    git.commit("repaired", manifest_toml=ENTRY)
    guilty = git.commit("guilty", manifest_toml=LESS)

    assert list_culprits(git)[0].endswith(f'(commit {guilty[:7]} "guilty")')


def test_broken_manifest_at_base_is_an_error(git: Git) -> None:
    """A comparison with a broken manifest is an error."""
    git.commit("broken", manifest_toml="[[scenario")
    git.commit("repaired", manifest_toml=ENTRY)

    with pytest.raises(ManifestError, match=r"manifest\.toml") as raised:
        compare_top(git, "HEAD~1")

    assert "--against" in raised.value.hint


def test_invalid_manifest_does_not_pass(git: Git) -> None:
    """A new scenario without a script is a mistake, even without losses."""
    git.write(manifest_toml=ENTRY + OTHER.replace("one.sh", "two.sh"))

    with pytest.raises(ManifestError, match=r"two\.sh"):
        compare_top(git)


def test_removed_manifest_loses_all_scenarios(git: Git) -> None:
    """Removing the manifest removes its scenarios."""
    git.write(manifest_toml=None)

    assert list_culprits(git) == ["scenario 'one': lost (not committed yet)"]


def test_manifest_that_never_existed_is_an_error(git: Git) -> None:
    """A manifest that neither exists nor existed is an error."""
    with pytest.raises(ManifestError, match=r"nowhere\.toml"):
        compare(git.top / "nowhere.toml", None)


def test_manifest_outside_repository_is_an_error(tmp_path: Path) -> None:
    """Without a repository, losses cannot be ruled out."""
    (tmp_path / "manifest.toml").write_text(ENTRY)

    with pytest.raises(UsageError, match="not in a git repository"):
        compare(tmp_path / "manifest.toml", None)


def test_linked_worktree_is_supported(git: Git, tmp_path: Path) -> None:
    """A linked worktree, where `.git` is a file, is supported."""
    tree = tmp_path / "tree"
    git("worktree", "add", "-q", "-b", "agent", str(tree))
    (tree / "manifest.toml").write_text(LESS)

    blamed = compare(tree / "manifest.toml", None).blamed
    assert [str(loss.loss) for loss in blamed] == ["scenario 'one': lost owner 'b'"]


def test_relative_path_through_link_is_supported(git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path through a symbolic link names the same manifest."""
    git.write(manifest_toml=LESS)
    (git.top.parent / "link").symlink_to(git.top)
    monkeypatch.chdir(git.top.parent)

    assert compare(Path("link/manifest.toml"), None).refused == 1


REWRITTEN = "wg less\n"


def read_trailer(git: Git) -> str:
    """Return the trailer that acknowledges the first finding."""
    return compare_top(git).blamed[0].trailer


def acknowledge(git: Git, trailer: str) -> None:
    """Commit an acknowledgement."""
    git.commit(f"reviewed\n\nIt tests the same.\n\n{trailer}")


def test_note_is_acknowledged_by_a_trailer(git: Git) -> None:
    """A note is silent after a commit with the trailer that `check` prints."""
    git.commit("rewritten", one_sh=REWRITTEN)
    trailer = read_trailer(git)
    assert trailer.startswith("Isosmoke-Reviewed: one ")

    acknowledge(git, trailer)

    assert list_kinds(git) == []
    assert compare_top(git).acknowledged == 1
    git.commit("harmless", manifest_toml=ENTRY.replace('["a", "b"]', '["a", "b", "c"]'))
    assert list_kinds(git) == []


def test_commit_can_acknowledge_its_own_change(git: Git) -> None:
    """The commit that makes a change can have the trailer, and other trailers too."""
    git.write(one_sh=REWRITTEN)
    trailer = read_trailer(git)

    git.commit(f"rewritten\n\nSigned-off-by: a <a@b>\n{trailer}\n")

    assert list_kinds(git) == []


def test_change_after_a_review_is_noted_again(git: Git) -> None:
    """An acknowledgement is valid for one state only."""
    git.commit("rewritten", one_sh=REWRITTEN)
    acknowledge(git, read_trailer(git))

    git.commit("again", one_sh="wg even less\n")

    assert list_kinds(git) == ["note: script-rewritten"]


@pytest.mark.parametrize(
    "trailer",
    [
        "Isosmoke-Reviewed: one 0123456789abcdef0123",
        "Isosmoke-Reviewed: one",
        "Isosmoke-Reviewed: two DIGEST",
        "Isosmoke-Reviewed: one DIGEST\n\nThis is no trailer, but a sentence.",
        "Reviewed: one DIGEST",
    ],
)
def test_invalid_acknowledgement_counts_for_nothing(git: Git, trailer: str) -> None:
    """A trailer must name the scenario and the digest of its state."""
    git.commit("rewritten", one_sh=REWRITTEN)
    digest = read_trailer(git).split()[-1]

    acknowledge(git, trailer.replace("DIGEST", digest))

    assert list_kinds(git) == ["note: script-rewritten"]


def test_acknowledgement_of_another_state_counts_for_nothing(git: Git) -> None:
    """A trailer in a commit that does not have the state is no review of it."""
    git.write(one_sh=REWRITTEN)
    trailer = read_trailer(git)
    git.write(one_sh="wg one\n")
    acknowledge(git, trailer)

    git.commit("rewritten", one_sh=REWRITTEN)

    assert list_kinds(git) == ["note: script-rewritten"]


def test_branch_cannot_acknowledge_its_loss(git: Git) -> None:
    """A loss is acknowledged on the main branch only, by the commit that merges it."""
    git.commit("less", manifest_toml=LESS)
    trailer = read_trailer(git)
    acknowledge(git, trailer)
    assert list_kinds(git) == ["owner-lost"]

    git("checkout", "-q", "main")
    git.commit("meanwhile", other_txt="x")
    git("merge", "-q", "--no-ff", "-m", f"Merge it\n\n{trailer}", "feature")

    assert list_kinds(git) == []
    git.commit("later", other_txt="y")
    assert list_kinds(git) == []


def write_event(git: Git, before: str) -> Mapping[str, str]:
    """Return the variables of a push in CI after the commit `before`."""
    event = git.top.parent / "event.json"
    event.write_text(json.dumps({"before": before}))
    return {"GITHUB_EVENT_PATH": str(event)}


def push(git: Git) -> str:
    """Push the feature branch with its own new commit to a new remote, and return the commit."""
    git("init", "-q", "--bare", str(git.top.parent / "remote"))
    git("remote", "add", "origin", str(git.top.parent / "remote"))
    old = git.commit("mine", mine_txt="x")
    git("push", "-q", "--set-upstream", "origin", "feature")
    return old


def remove_on_main(git: Git) -> str:
    """Add a scenario on main and push a feature branch with it; acknowledge its removal on main."""
    git("checkout", "-q", "main")
    git.commit("two", manifest_toml=ENTRY + OTHER)
    git("checkout", "-q", "-B", "feature")
    old = push(git)
    git("checkout", "-q", "main")
    git.commit("removed", manifest_toml=ENTRY)
    acknowledge(git, read_trailer(git))
    assert list_kinds(git) == []
    git("checkout", "-q", "feature")
    return old


@pytest.mark.parametrize("update", ["merge", "rebase"])
def test_removal_on_the_main_branch_does_not_block_a_branch(git: Git, update: str) -> None:
    """A loss that the main branch acknowledged counts as reviewed on a branch that gets it."""
    old = remove_on_main(git)

    git(update, "-q", "main")

    assert list_kinds(git) == []
    assert list_kinds(git, environment=write_event(git, old)) == []


def test_note_of_the_main_branch_is_acknowledged_on_a_branch(git: Git) -> None:
    """A note that the main branch acknowledged is silent on a branch that merges it."""
    old = push(git)
    git("checkout", "-q", "main")
    git.commit("rewritten", one_sh=REWRITTEN)
    acknowledge(git, read_trailer(git))
    git("checkout", "-q", "feature")

    git("merge", "-q", "main")

    assert list_kinds(git, environment=write_event(git, old)) == []


def test_short_history_of_the_main_branch_is_noted(git: Git) -> None:
    """A loss below the commits of a shallow clone is not seen, so the check says so."""
    git("checkout", "-q", "main")
    git.commit("less", manifest_toml=LESS)
    git.commit("harmless", other_txt="x")
    clone = git.top.parent / "clone"
    git("clone", "-q", "--depth=2", "--branch=main", f"file://{git.top}", str(clone))
    event = write_event(Git(clone), Git(clone)("rev-parse", "HEAD~1"))

    assert list_kinds(git) == ["owner-lost"]
    assert list_kinds(Git(clone)) == ["note: history-shallow"]
    assert list_kinds(Git(clone), environment=event) == []


def test_loss_on_a_local_main_branch_is_reported_on_a_branch(git: Git) -> None:
    """Anyone can move a branch that no remote has, so its history counts; its notes do not."""
    git("checkout", "-q", "main")
    git.commit("less", manifest_toml=LESS, one_sh=REWRITTEN)
    git("checkout", "-q", "-B", "feature")
    git.commit("feature", other_txt="x")
    assert list_kinds(git) == ["owner-lost"]

    git("update-ref", "refs/remotes/origin/main", "main")
    assert list_kinds(git) == []


def test_review_on_the_main_branch_covers_no_later_removal(git: Git) -> None:
    """A scenario that main has again cannot be removed by a branch, whatever its other bases."""
    remove_on_main(git)
    git("checkout", "-q", "main")
    git.commit("again", manifest_toml=ENTRY + OTHER)
    git("checkout", "-q", "feature")
    git("merge", "-q", "main")
    git.commit("removed again", manifest_toml=ENTRY)

    assert list_kinds(git) == ["scenario-lost"]


def test_branch_covers_no_removal_by_a_review_of_its_own(git: Git) -> None:
    """A trailer on a branch that merged the main branch is still one of the branch."""
    remove_on_main(git)
    git("merge", "-q", "main")
    git.commit("less", manifest_toml=LESS)
    acknowledge(git, read_trailer(git))

    assert list_kinds(git) == ["owner-lost"]


TRUNK = f'[check]\nmain_branch = "trunk"\n{ENTRY}'


def test_agreed_main_branch_acknowledges_a_loss(git: Git) -> None:
    """A loss is acknowledged on the branch that the usual main branch names."""
    git("checkout", "-q", "main")
    git.commit("setting", manifest_toml=TRUNK)
    acknowledge(git, read_trailer(git))
    git("checkout", "-q", "-b", "trunk")
    git.commit("less", manifest_toml=TRUNK.replace(', "b"', ""))
    acknowledge(git, read_trailer(git))
    assert list_kinds(git) == []

    git("checkout", "-q", "-b", "fix")
    git.commit("fix", other_txt="x")
    assert list_kinds(git) == []
    git.commit("own", manifest_toml=TRUNK.replace('"trunk"', '"fix"').replace(', "b"', ""))
    acknowledge(git, read_trailer(git))
    assert list_kinds(git) == ["gate-weakened"]


def test_main_branch_agrees_to_no_branch_by_its_newest_commit(git: Git) -> None:
    """The losses on the usual main branch count, although its manifest now names another one."""
    git("checkout", "-q", "main")
    git.commit("less", manifest_toml=TRUNK.replace(', "b"', ""))
    git("branch", "-q", "trunk")
    git.commit("harmless", other_txt="x")

    assert sorted(list_kinds(git)) == ["gate-weakened", "owner-lost"]


def test_only_main_branch_is_the_one_that_the_manifest_names(git: Git) -> None:
    """A named branch acknowledges where none has a usual name, until another is named."""
    git("branch", "-q", "-M", "trunk")
    git("branch", "-q", "-D", "main")
    git.commit("setting", manifest_toml=TRUNK)
    acknowledge(git, read_trailer(git))
    assert list_kinds(git) == []

    git("checkout", "-q", "-b", "fix")
    git.commit("own", manifest_toml=TRUNK.replace('"trunk"', '"fix"'))
    acknowledge(git, read_trailer(git))
    assert list_kinds(git) == ["gate-weakened"]


def test_another_main_branch_is_no_base_alone(git: Git) -> None:
    """The branch that the manifest named before stays a base where none has a usual name."""
    git("branch", "-q", "-M", "trunk")
    git("branch", "-q", "-D", "main")
    git.commit("setting", manifest_toml=TRUNK)
    git("checkout", "-q", "-b", "fix")
    weak = TRUNK.replace('"trunk"', '"weak"').replace(', "b"', "")
    git.commit("weak", manifest_toml=weak)
    git("branch", "-q", "weak")
    git.commit("fix", other_txt="x")

    assert sorted(list_kinds(git)) == ["gate-weakened", "owner-lost"]


@pytest.mark.parametrize("usual", [True, False])
def test_shallow_clone_does_not_trust_a_branch_that_only_the_manifest_names(
    git: Git,
    tmp_path: Path,
    usual: bool,  # noqa: FBT001
) -> None:
    """An equally weak branch is no base; neither is it next to the usual main branch."""
    git.commit("weak", manifest_toml=TRUNK.replace('"trunk"', '"weak"').replace(', "b"', ""))
    git("branch", "-q", "weak")
    git.commit("fix", other_txt="x")
    clone = Git(tmp_path / "clone")
    clone("remote", "add", "origin", f"file://{git.top}")
    branches = ("weak", "feature", *(["main"] if usual else []))
    clone(
        "fetch",
        "-q",
        "--depth=1",
        "origin",
        *(f"{each}:refs/remotes/origin/{each}" for each in branches),
    )
    clone("checkout", "-q", "--detach", "origin/feature")

    expected = ["gate-weakened", "owner-lost"] if usual else ["nothing-compared"]
    assert sorted(list_kinds(clone)) == expected


def test_loss_on_the_main_branch_is_reported_until_it_is_acknowledged(git: Git) -> None:
    """Every ancestor on the main branch counts, not only the latest."""
    git("checkout", "-q", "main")
    git.commit("two", manifest_toml=ENTRY + OTHER)
    guilty = git.commit("guilty", manifest_toml=ENTRY)
    for number in range(3):
        git.commit(f"later {number}", other_txt=str(number))

    assert list_culprits(git) == [f"scenario 'two': lost (commit {guilty[:7]} \"guilty\")"]
    acknowledge(git, read_trailer(git))
    assert list_kinds(git) == []
    git.commit("less", manifest_toml=LESS)
    assert list_kinds(git) == ["owner-lost"]


def test_ci_event_names_a_base(git: Git, tmp_path: Path) -> None:
    """In CI, a push to a branch is also compared with the commit before it."""
    before = git.commit("two", manifest_toml=ENTRY + OTHER)
    git.commit("one", manifest_toml=ENTRY)
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"before": before}))

    assert list_kinds(git) == []
    assert list_kinds(git, environment={"GITHUB_EVENT_PATH": str(event)}) == ["scenario-lost"]


def test_main_branch_named_by_the_manifest_is_the_base(git: Git) -> None:
    """A manifest can name the main branch; the usual one counts until it has the setting."""
    named = f'[check]\nmain_branch = "trunk"\n{ENTRY}'
    git("checkout", "-q", "main")
    git.commit("setting", manifest_toml=named + OTHER)
    git("checkout", "-q", "-b", "trunk")
    git.commit("trunk", manifest_toml=named)
    git("update-ref", "refs/remotes/origin/trunk", "trunk")
    git("checkout", "-q", "-b", "fix")
    git.commit("fix", other_txt="x")

    assert list_kinds(git) == []


def test_hook_of_a_commit_is_judged_by_its_own_index(git: Git) -> None:
    """A commit that repairs a loss passes its hook, whichever way it is committed."""
    git.commit("less", manifest_toml=LESS)
    git.write(manifest_toml=ENTRY)
    git("read-tree", "--index-output=.git/next-index-1.lock", "HEAD")
    environment = {"GIT_INDEX_FILE": str(git.top / ".git/next-index-1.lock")}

    assert list_kinds(git, environment=environment) == ["owner-lost"]
    git("add", "--all")
    assert list_kinds(git) == []
    assert list_kinds(git, environment={"GIT_INDEX_FILE": "/elsewhere/index"}) == []


@pytest.mark.parametrize("helper", ["check.py", "expected.txt"])
def test_file_next_to_a_script_is_judged_if_the_manifest_is_at_the_top(
    git: Git, helper: str
) -> None:
    """The directory of a script has what it reads; that of the manifest has the program too."""
    git("checkout", "-q", "main")
    (git.top / "scenarios").mkdir()
    (git.top / "scenarios/two.sh").write_text(f'here=${{0%/*}}\nwg "$here/{helper}"\n')
    (git.top / "scenarios" / helper).write_text("strict\n")
    git.commit("helper", manifest_toml=ENTRY + OTHER.replace("one.sh", "scenarios/two.sh"))
    git("checkout", "-q", "-B", "feature")
    git.commit("feature", other_md="Still more.\n")
    assert list_kinds(git) == []

    (git.top / "scenarios" / helper).write_text("lenient\n")

    assert list_kinds(git) == ["note: input-rewritten"]
