"""Every known way past `isosmoke check` has findings, and an honest change has none.

`tests/integration/test_ways_past_the_gate.py` compares the table in docs/gate.md with these ways.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from isosmoke.authoring.growth import comparison
from support.git_repositories import Git
from support.ways_past_check import (
    MANIFEST,
    SCRIPT,
    SECOND,
    SMOKE,
    TEXT,
    THIRD,
    WAYS,
    Act,
    Way,
    clone_shallow,
    compare,
    create_project,
    edit,
    list_kinds,
    put,
    put_weak,
    sort_kinds,
)


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Return a project on a branch, with a reviewed manifest on the main branch."""
    return create_project(tmp_path / "project")


@pytest.mark.parametrize("item", WAYS, ids=[item.text for item in WAYS])
def test_way_is_named(git: Git, item: Way) -> None:
    """No way past the check is silent, neither here nor in a fresh shallow clone that has it."""
    item.act(git)

    assert sort_kinds(list_kinds(git.top)) == sort_kinds(item.found)
    assert sort_kinds(list_kinds(clone_shallow(git))) == sort_kinds(item.in_clone)


def test_no_way_is_silent() -> None:
    """Each way has a finding, so that the table proves something."""
    assert [item.text for item in WAYS if item.found == ()] == []
    assert len({item.text for item in WAYS}) == len(WAYS)


HONEST: dict[str, Act] = {}


def honest(text: str) -> Callable[[Act], None]:
    """Register a change that is not reported."""
    return lambda act: HONEST.update({text: act})


@honest("A scenario is added")
def _add_scenario(git: Git) -> None:
    put(git, "tests/smoke/scenarios/three.sh", "wg three\n")
    edit(
        git,
        SMOKE,
        MANIFEST,
        MANIFEST + THIRD,
    )


@honest("An owner, a tag, a lock, a description and a comment are added")
def _add_owner_and_tag(git: Git) -> None:
    keys = 'tags = ["slow"]\nlocks = ["port"]\ndescription = "It."\n# A comment.\n'
    edit(git, SMOKE, 'owners = ["task-b"]\n', f'owners = ["task-b", "task-c"]\n{keys}')


@honest("A scenario is renamed, and keeps its former name")
def _rename_with_alias(git: Git) -> None:
    edit(git, SMOKE, 'name = "two"', 'name = "second"\naliases = ["two"]')


@honest("A script is moved without a change")
def _move_script(git: Git) -> None:
    git("mv", "tests/smoke/scenarios/two.sh", "tests/smoke/scenarios/second.sh")
    edit(git, SMOKE, "scenarios/two.sh", "scenarios/second.sh")


@honest("A comment in a script is changed")
def _comment_script(git: Git) -> None:
    edit(git, SCRIPT, "set -e", "# It starts.\nset -e")


@honest("A limit on retries and processes is tightened")
def _strengthen(git: Git) -> None:
    edit(git, SMOKE, "timeout_seconds = 60", "timeout_seconds = 60\nsettle_seconds = 1")


@honest("Another project of a monorepo gets its own manifest")
def _add_project(git: Git) -> None:
    put_weak(git, f"packages/a/{SMOKE}")
    git.commit("package")


@honest("A file that is no part of a scenario is changed, also in a shallow clone")
def _change_program(git: Git) -> None:
    git.commit("program", main_py="print()\n")


@honest("A script reads a file of Git LFS, which has other content in the work tree")
def _read_large_file(git: Git) -> None:
    git("checkout", "-q", "main")
    content = "large\n"
    oid = hashlib.sha256(content.encode()).hexdigest()
    put(git, ".gitattributes", "*.bin filter=lfs\n")
    put(git, "tests/smoke/scenarios/two.sh", "cmp $HERE/data/large.bin\nwg two\n")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 6\n"
    put(git, "tests/smoke/data/large.bin", pointer)
    git.commit("large")
    git("checkout", "-q", "-B", "feature")
    git.commit("feature", other_md="Still more.\n")
    put(git, "tests/smoke/data/large.bin", content)


@honest("A file for another program is called manifest.toml")
def _add_other_manifest(git: Git) -> None:
    git.commit("other", manifest_toml='[package]\nname = "x"\n')


def merge(git: Git, branch: str, *options: str) -> None:
    """Merge a branch, always by a merge commit."""
    git("merge", "-q", "--no-ff", *options, branch, "-m", f"merge {branch}")


def add_third(git: Git) -> None:
    """Commit a scenario."""
    put(git, "tests/smoke/scenarios/three.sh", "wg three\n")
    text = (git.top / SMOKE).read_text()
    edit(git, SMOKE, text, text + THIRD)


@honest("A scenario that only the branch had is removed before the branch is merged")
def _merge_revised(git: Git) -> None:
    add_third(git)
    edit(git, SMOKE, THIRD, "")
    git("checkout", "-q", "main")
    git.commit("main", more_txt="x")
    merge(git, "feature")


@honest("A branch merges the main branch, and is merged")
def _merge_both_ways(git: Git) -> None:
    git("checkout", "-q", "main")
    add_third(git)
    git("checkout", "-q", "feature")
    merge(git, "main")
    edit(git, SMOKE, 'owners = ["task-b"]', 'owners = ["task-b", "c"]')
    git("checkout", "-q", "main")
    git.commit("main", more_txt="x")
    merge(git, "feature")


@honest("A pull makes the remote branch the second parent")
def _merge_swapped(git: Git) -> None:
    git("checkout", "-q", "main")
    add_third(git)
    git("checkout", "-q", "feature")
    merge(git, "main")
    git("checkout", "-q", "-B", "main")


@honest("A branch from before the manifest is merged after a reviewed loss")
def _merge_old_branch(git: Git) -> None:
    git("checkout", "-q", "-b", "old", "main~1")
    git.commit("old", old_txt="x")
    git("checkout", "-q", "main")
    git("checkout", "-q", "old")
    merge(git, "main")
    git("checkout", "-q", "main")
    edit(git, SMOKE, SECOND, "")
    trailers = dict.fromkeys(item.trailer for item in compare(git.top).blamed)
    git.commit("reviewed\n\n" + "\n".join(trailers))
    git("checkout", "-q", "old")
    git.commit("old", older_txt="x")
    git("checkout", "-q", "main")
    merge(git, "old")


@honest("The branch that adds the first manifest renames a scenario before it is merged")
def _merge_first_manifest(git: Git) -> None:
    git("checkout", "-q", "-b", "adopt", "main~1")
    put(git, SMOKE, MANIFEST)
    put(git, SCRIPT, TEXT)
    put(git, "tests/smoke/scenarios/two.sh", "wg two\n")
    git.commit("adopt")
    edit(git, SMOKE, 'name = "two"', 'name = "renamed"')
    git("checkout", "-q", "-B", "main", "adopt~2")
    git.commit("main", more_txt="x")
    merge(git, "adopt")
    git.commit("later", later_txt="x")


@pytest.mark.parametrize("act", HONEST.values(), ids=HONEST)
def test_honest_change_is_silent(git: Git, act: Callable[[Git], None]) -> None:
    """A change that cannot hide a failure is not reported."""
    act(git)

    assert list_kinds(git.top) == ()


def test_script_behind_a_link_is_judged_by_its_content(git: Git) -> None:
    """A script that has always been a link is compared by the file that the link leads to."""
    git("checkout", "-q", "main")
    put(git, "tests/shared/two.sh", "wg two\n")
    (git.top / "tests/smoke/scenarios/two.sh").unlink()
    (git.top / "tests/smoke/scenarios/two.sh").symlink_to("../../shared/two.sh")
    git.commit("link")
    git("update-ref", "refs/remotes/origin/main", "main")
    git("checkout", "-q", "-B", "feature")
    git.commit("feature", other_md="Still more.\n")
    assert list_kinds(git.top) == ()

    put(git, "tests/shared/two.sh", "wg two || :\n")
    git.commit("weaken")

    assert list_kinds(git.top) == ("note: script-rewritten",)


def test_helpers_that_a_pattern_names_are_judged(git: Git) -> None:
    """A script that sources every file of a directory is judged with all of them."""
    git("checkout", "-q", "main")
    put(git, "tests/smoke/scenarios/two.sh", 'for f in lib/*.sh; do . "$f"; done\nwg two\n')
    put(git, "tests/smoke/lib/a.sh", "set -e\n")
    git.commit("pattern")
    git("checkout", "-q", "-B", "feature")
    git.commit("feature", other_md="Still more.\n")
    assert "note: input-rewritten" not in (list_kinds(git.top) or ())

    put(git, "tests/smoke/lib/b.sh", "trap 'exit 0' EXIT\n")
    git.commit("weaken")

    assert "note: input-rewritten" in (list_kinds(git.top) or ())


def test_single_branch_of_a_shallow_clone_is_a_loss(git: Git) -> None:
    """A clone without any base cannot be judged, and is no success."""
    clone = git.top.parent / "clone"
    git("clone", "-q", "--depth=1", "--branch=feature", f"file://{git.top}", str(clone))

    (blamed,) = compare(clone).blamed
    assert blamed.loss.kind in comparison.OF_BASES
    assert "commit unknown" in blamed.culprit


def test_loss_in_a_shallow_clone_has_an_unknown_commit(git: Git) -> None:
    """A loss that a shallow clone shows is reported, although its commit is not."""
    edit(git, SMOKE, SECOND, "")

    (blamed,) = compare(clone_shallow(git)).blamed
    assert blamed.loss.kind == "scenario-lost"
    assert "commit unknown" in blamed.culprit
