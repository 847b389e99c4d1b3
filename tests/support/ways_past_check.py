"""Every known way past `isosmoke check`, with the kinds of findings that name it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from isosmoke.authoring.growth import comparison
from isosmoke.authoring.growth.comparison import CheckRequest, Comparison
from isosmoke.errors import ManifestError
from isosmoke.manifest import loader
from isosmoke.manifest.mirrors import mirror_text
from support.git_repositories import Git

SMOKE = "tests/smoke/manifest.toml"
SCRIPT = "tests/smoke/scenarios/one.sh"
LIB = "tests/smoke/scenarios/lib.sh"
MANIFEST = """
[[scenario]]
name = "one"
script = "scenarios/one.sh"
owners = ["task-a", "task-b"]
assertion = "It works."
timeout_seconds = 60

[[scenario]]
name = "two"
script = "scenarios/two.sh"
owners = ["task-b"]
"""
SECOND = MANIFEST[MANIFEST.index('[[scenario]]\nname = "two"') :]
TEXT = 'set -e\n. "$(dirname "$0")/lib.sh"\ncheck_it\nwg one\n'
THIRD = '[[scenario]]\nname = "three"\nscript = "scenarios/three.sh"\n'
WEAK = '[[scenario]]\nname = "weak"\nscript = "weak.sh"\nowners = ["task-a"]\n'


Act = Callable[[Git], None]


class Way(NamedTuple):
    """A way past the check, as in the documentation, and the findings here and in a fresh clone.

    None in place of findings means that the manifest is invalid.
    """

    text: str
    act: Act
    found: tuple[str, ...] | None
    in_clone: tuple[str, ...] | None


WAYS: list[Way] = []


def way(text: str, *found: str, clone: tuple[str, ...] | None = None) -> Callable[[Act], None]:
    """Register a way; by default, the findings in a fresh shallow clone are the same."""
    return lambda act: WAYS.append(Way(text, act, found, found if clone is None else clone))


def invalid(text: str) -> Callable[[Act], None]:
    """Register a way that ends with an error of the manifest, here and in a clone."""
    return lambda act: WAYS.append(Way(text, act, None, None))


def put(git: Git, name: str, text: str) -> Path:
    """Write a file and its directories."""
    path = git.top / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def edit(git: Git, name: str, old: str, new: str) -> None:
    """Replace a text that occurs in a file, and commit."""
    text = (git.top / name).read_text()
    assert old in text
    put(git, name, text.replace(old, new))
    git.commit("edit")


def put_weak(git: Git, place: str) -> None:
    """Write another manifest with its script."""
    put(git, place, WEAK)
    put(git, str(Path(place).parent / "weak.sh"), "exit 0\n")


HIDDEN = "manifest-hidden"
LOST = ("scenario-lost", "scenario-lost")
TWO_INPUTS = ("note: input-rewritten", "note: input-rewritten")


@way("An ignored manifest in the graph directory hides the one in review", HIDDEN, clone=())
def _hide_by_ignored(git: Git) -> None:
    put_weak(git, f".wg/{SMOKE}")


@way("An untracked manifest in the graph directory hides the one in review", HIDDEN, clone=())
def _hide_by_untracked(git: Git) -> None:
    put(git, ".gitignore", "")
    put_weak(git, f".wg/{SMOKE}")


@way("A committed manifest in the graph directory hides the one in review", HIDDEN)
def _hide_by_tracked(git: Git) -> None:
    put_weak(git, f".wg/{SMOKE}")
    git("add", "--force", ".wg/tests")
    git.commit("hide")


@way("A manifest without a scenario hides the one in review", HIDDEN)
def _hide_by_empty(git: Git) -> None:
    put(git, f".wg/{SMOKE}", "# nothing\n")
    git("add", "--force", ".wg/tests")
    git.commit("hide")


@way("A directory in the place of a manifest hides the one in review", HIDDEN, clone=())
def _hide_by_directory(git: Git) -> None:
    (git.top / f".wg/{SMOKE}").mkdir(parents=True)


@way(
    "The manifest is moved to another usual place, where an owner is lost",
    "manifest-moved",
    "owner-lost",
)
def _move_and_hide(git: Git) -> None:
    git("mv", SMOKE, "manifest.toml")
    text = (git.top / "manifest.toml").read_text().replace("scenarios/", "tests/smoke/scenarios/")
    put(git, "manifest.toml", text.replace('"task-a", ', ""))
    git.commit("move")
    put_weak(git, f".wg/{SMOKE}")


@way("The manifest is replaced by a link to a weaker one", "manifest-linked", *LOST)
def _link_to_weaker(git: Git) -> None:
    put_weak(git, "tests/smoke/weak.toml")
    (git.top / SMOKE).unlink()
    (git.top / SMOKE).symlink_to("weak.toml")
    git.commit("link")


@way(
    "The manifest is replaced by a link to an equal one, which can be swapped later",
    "manifest-linked",
)
def _link_to_equal(git: Git) -> None:
    (git.top / SMOKE).rename(git.top / "tests/smoke/equal.toml")
    (git.top / SMOKE).symlink_to("equal.toml")
    git.commit("link")


@way(
    "The directory of the manifest is replaced by a link out of the repository",
    "manifest-outside",
    *LOST,
)
def _link_directory_outside(git: Git) -> None:
    (git.top / "tests").rename(git.top.parent / "outside")
    (git.top / "tests").symlink_to("../outside")
    git.commit("link")


@way("The manifest is replaced by a bridge to a weaker one", "manifest-superseded", *LOST)
def _replace_by_bridge(git: Git) -> None:
    put_weak(git, "weak/manifest.toml")
    mirror = mirror_text.render(loader.load(git.top / "weak/manifest.toml"), "manifest.sh")
    put(git, SMOKE, mirror)
    git.commit("bridge")


@way("A repository is created around the manifest", "manifest-outside", *LOST, clone=())
def _plant_repository(git: Git) -> None:
    Git(git.top / "tests/smoke").commit("weak")


@way("The directory of the manifest becomes a submodule", "manifest-outside", *LOST)
def _make_submodule(git: Git) -> None:
    inner = Git(git.top / "tests/smoke")
    inner.commit("inner")
    git("rm", "-r", "-q", "--cached", "tests/smoke")
    git.commit("submodule")


@way("The manifest is removed", *LOST)
def _remove_manifest(git: Git) -> None:
    git("rm", "-q", SMOKE)
    git.commit("remove")


@way("The manifest is no longer tracked, and not committed yet", *LOST, clone=())
def _untrack_manifest(git: Git) -> None:
    git("rm", "-q", "--cached", SMOKE)


@way("A loss is staged, and the work tree is repaired", "owner-lost", clone=())
def _stage_a_loss(git: Git) -> None:
    good = (git.top / SMOKE).read_text()
    put(git, SMOKE, good.replace('"task-a", ', ""))
    git("add", SMOKE)
    put(git, SMOKE, good)


@way(
    "A loss in the work tree is kept from git's sight by `--assume-unchanged`",
    "owner-lost",
    clone=(),
)
def _assume_unchanged(git: Git) -> None:
    git("update-index", "--assume-unchanged", SMOKE)
    put(git, SMOKE, (git.top / SMOKE).read_text().replace('"task-a", ', ""))


@way(
    "A committed loss is covered by a file that git does not compare (`--skip-worktree`)",
    "owner-lost",
)
def _skip_worktree(git: Git) -> None:
    good = (git.top / SMOKE).read_text()
    edit(git, SMOKE, '"task-a", ', "")
    git("update-index", "--skip-worktree", SMOKE)
    put(git, SMOKE, good)


@way("`git replace` shows the weakened manifest in place of the reviewed one", "owner-lost")
def _replace_object(git: Git) -> None:
    old = git("rev-parse", f"HEAD:{SMOKE}")
    edit(git, SMOKE, '"task-a", ', "")
    git("replace", old, git("rev-parse", f"HEAD:{SMOKE}"))


@way("A graft makes the weakened commit a root", "owner-lost")
def _graft_history(git: Git) -> None:
    edit(git, SMOKE, '"task-a", ', "")
    (git.top / ".git/info").mkdir(exist_ok=True)
    (git.top / ".git/info/grafts").write_text(git("rev-parse", "HEAD") + "\n")


@way("The main branch is moved to the weakened commit", "owner-lost", clone=("self-compared",))
def _move_main_branch(git: Git) -> None:
    edit(git, SMOKE, '"task-a", ', "")
    git("branch", "-q", "-f", "main", "HEAD")


@way(
    "The main branch is moved to the weakened commit, and a harmless commit follows",
    "owner-lost",
    clone=(),
)
def _move_main_branch_below(git: Git) -> None:
    edit(git, SMOKE, '"task-a", ', "")
    git("branch", "-q", "-f", "main", "HEAD")
    git.commit("harmless", other_txt="x")


@way(
    "The default branch of `origin` becomes one that has the loss already",
    "owner-lost",
    clone=("owner-lost",),
)
def _move_default_branch(git: Git) -> None:
    git("update-ref", "refs/remotes/origin/main", "main")
    edit(git, SMOKE, '"task-a", ', "")
    git("update-ref", "refs/remotes/origin/weak", "HEAD")
    git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/weak")
    git.commit("harmless", other_txt="x")


@way(
    "The loss is committed to the main branch, below a harmless commit",
    "owner-lost",
    clone=("self-compared",),
)
def _commit_to_main(git: Git) -> None:
    git("checkout", "-q", "main")
    edit(git, SMOKE, '"task-a", ', "")
    git.commit("harmless", other_txt="x")
    git("checkout", "-q", "-B", "feature")


LESS = MANIFEST.replace('"task-a", ', "")


def merge_ours(git: Git, *start: str) -> None:
    """Let a weaker history replace the main branch, which it merges without taking anything."""
    git("checkout", "-q", *start)
    put(git, ".gitignore", ".wg/\n")
    put(git, SMOKE, LESS)
    put(git, SCRIPT, TEXT)
    put(git, LIB, "check_it() { wg it; }\n")
    put(git, "tests/smoke/scenarios/two.sh", "wg two\n")
    git.commit("weak")
    options = ("-s", "ours", "--allow-unrelated-histories")
    git("merge", "-q", *options, "main", "-m", "merge")
    git("branch", "-q", "-f", "main", "HEAD")
    git("checkout", "-q", "-B", "feature")


@way(
    "A weaker history, from before the manifest, merges the main branch with `-s ours`",
    "owner-lost",
    *TWO_INPUTS,
    clone=("self-compared",),
)
def _merge_ours(git: Git) -> None:
    merge_ours(git, "-b", "weak", "main~1")


@way(
    "The same, and the weaker history has no commit in common with the main branch",
    "owner-lost",
    *TWO_INPUTS,
    clone=("self-compared",),
)
def _merge_ours_unrelated(git: Git) -> None:
    merge_ours(git, "--orphan", "weak", "main")


@way(
    "The same, and the main branch has the loss already",
    "owner-lost",
    *TWO_INPUTS,
    clone=("self-compared",),
)
def _merge_ours_after_a_loss(git: Git) -> None:
    git("checkout", "-q", "main")
    edit(git, SMOKE, '"task-a", ', "")
    merge_ours(git, "-b", "weak", "main~2")


@way(
    "A merge with `-s ours` drops a scenario of the branch that it merges",
    "scenario-lost",
    clone=("self-compared",),
)
def _drop_by_merge(git: Git) -> None:
    put(git, "tests/smoke/scenarios/three.sh", "wg three\n")
    edit(git, SMOKE, MANIFEST, f"{MANIFEST}{THIRD}")
    git("checkout", "-q", "main")
    git.commit("main", more_txt="x")
    git("merge", "-q", "-s", "ours", "feature", "-m", "merge")
    git("checkout", "-q", "-B", "feature")


@way("The manifest names a main branch that has the loss already", "owner-lost", "gate-weakened")
def _name_another_main_branch(git: Git) -> None:
    edit(git, SMOKE, '"task-a", ', "")
    git("branch", "-q", "weak")
    edit(
        git,
        SMOKE,
        '\n[[scenario]]\nname = "one"',
        '[check]\nmain_branch = "weak"\n[[scenario]]\nname = "one"',
    )


@way(
    "The manifest names its own branch as the main branch, and acknowledges the losses there",
    "owner-lost",
    "gate-weakened",
)
def _name_own_branch(git: Git) -> None:
    edit(git, SMOKE, '"task-a", ', "")
    named = '[check]\nmain_branch = "feature"\n[[scenario]]\nname = "one"'
    edit(git, SMOKE, '\n[[scenario]]\nname = "one"', named)
    trailers = dict.fromkeys(item.trailer for item in compare(git.top).blamed)
    git.commit("reviewed\n\n" + "\n".join(trailers))


@way("The repository is created again from the weakened files", "self-compared")
def _erase_history(git: Git) -> None:
    edit(git, SMOKE, '"task-a", ', "")
    (git.top / ".git").rename(git.top.parent / "old")
    git("init", "-q", "--initial-branch=main")
    git.commit("again")
    git("checkout", "-q", "-b", "feature")


@way(
    "The repository is created again, with an empty commit below the weakened files",
    "note: manifest-first",
    clone=("self-compared",),
)
def _erase_history_below_an_empty_commit(git: Git) -> None:
    edit(git, SMOKE, '"task-a", ', "")
    (git.top / ".git").rename(git.top.parent / "old")
    git("init", "-q", "--initial-branch=main")
    git("commit", "-q", "--allow-empty", "--message", "empty")
    git.commit("again")
    git("checkout", "-q", "-b", "feature")


@way("The branch has no commit in common with the main branch", "owner-lost")
def _start_orphan_branch(git: Git) -> None:
    put(git, SMOKE, (git.top / SMOKE).read_text().replace('"task-a", ', ""))
    git("checkout", "-q", "--orphan", "other")
    git.commit("orphan")
    git("branch", "-M", "feature")


@way("A scenario is removed", "scenario-lost")
def _lose_scenario(git: Git) -> None:
    edit(git, SMOKE, SECOND, "")


@way("An entry is moved to a manifest that no gate reads", "scenario-lost")
def _move_entry(git: Git) -> None:
    entry = SECOND
    put(git, "tests/more/manifest.toml", entry.replace("scenarios", "../smoke/scenarios"))
    edit(git, SMOKE, entry, "")


@way("A scenario gets a name that looks the same, and another script", "scenario-lost")
def _rename_to_similar(git: Git) -> None:
    put(git, "tests/smoke/scenarios/weak.sh", "exit 0\n")
    edit(
        git,
        SMOKE,
        'name = "two"\nscript = "scenarios/two.sh"',
        'name = "Two"\nscript = "scenarios/weak.sh"',
    )


@way("An owner is replaced by one that looks the same", "owner-lost")
def _replace_owner(git: Git) -> None:
    edit(git, SMOKE, '"task-a"', '"t\u0430sk-a"')


@way("An entry points at another script", "script-replaced")
def _point_elsewhere(git: Git) -> None:
    put(git, "tests/smoke/scenarios/weak.sh", "wg weak\n")
    edit(git, SMOKE, "scenarios/two.sh", "scenarios/weak.sh")


@way("An entry points at the script of another scenario", "script-replaced")
def _share_script(git: Git) -> None:
    edit(git, SMOKE, "scenarios/two.sh", "scenarios/one.sh")


@way("A repository is created around the scripts", "script-lost", "script-lost", clone=())
def _hide_script_in_repository(git: Git) -> None:
    put(git, "tests/smoke/scenarios/.git", "")


def add_key(line: str, *found: str, text: str) -> None:
    """Register a way that adds a line to an entry."""

    def act(git: Git) -> None:
        edit(git, SMOKE, "timeout_seconds = 60", f"timeout_seconds = 60\n{line}")

    WAYS.append(Way(text, act, found, found))


for _line, _kind, _text in (
    ('requires = { commands = ["gone"] }', "requires-grew", "`requires` names a missing program"),
    ('requires = { env = ["GONE"] }', "requires-grew", "`requires` names a missing variable"),
    ('leaks = "report"', "leaks-loosened", "The leak policy is loosened"),
    ("settle_seconds = 60", "setting-weakened", "Processes get more time to end"),
    ("retries = 9", "setting-weakened", "A scenario is retried more often"),
    ('image = "other"', "setting-weakened", "The `image` is another one"),
    ('network = "isolated"', "setting-weakened", "The `network` is another one"),
    ('services = [{ name = "s", image = "i" }]', "setting-weakened", "A service is added"),
    ('capabilities = ["IPC_LOCK"]', "setting-weakened", "A capability is added"),
    ("new_namespaces = true", "setting-weakened", "New namespaces are permitted"),
    ('env = { WG_FAKE = "1" }', "setting-weakened", "`env` sets a variable of the program"),
    ('pass_env = ["WG_FAKE"]', "setting-weakened", "`pass_env` passes a variable"),
    ('plain_env = ["WG_FAKE"]', "setting-weakened", "`plain_env` passes a variable"),
    ('pass_files = ["~/.fake"]', "setting-weakened", "`pass_files` passes a file"),
    ('plain_files = ["~/.fake"]', "setting-weakened", "`plain_files` passes a file"),
):
    add_key(_line, _kind, text=_text)


@way("`[defaults]` weakens every scenario", "setting-weakened", "setting-weakened")
def _weaken_by_default(git: Git) -> None:
    edit(
        git,
        SMOKE,
        '\n[[scenario]]\nname = "one"',
        '[defaults]\nretries = 9\n[[scenario]]\nname = "one"',
    )


@invalid("`env` sets `BASH_ENV`")
def _set_bash_env(git: Git) -> None:
    edit(git, SMOKE, "timeout_seconds = 60", 'env = { BASH_ENV = "weak.sh" }')


@invalid("`pass_env` in `[defaults]` passes `LD_PRELOAD`")
def _pass_preload(git: Git) -> None:
    edit(
        git,
        SMOKE,
        '\n[[scenario]]\nname = "one"',
        '[defaults]\npass_env = ["LD_PRELOAD"]\n[[scenario]]\nname = "one"',
    )


@way("An assertion is removed", "assertion-lost")
def _drop_assertion(git: Git) -> None:
    edit(git, SMOKE, 'assertion = "It works."\n', "")


@way("An assertion is reworded", "note: assertion-reworded")
def _reword_assertion(git: Git) -> None:
    edit(git, SMOKE, "It works.", "It starts.")


@way("A deadline is shortened", "note: setting-changed")
def _shorten_deadline(git: Git) -> None:
    edit(git, SMOKE, "= 60", "= 1")


@way("A deadline is extended, behind which a hang can hide", "note: setting-changed")
def _extend_deadline(git: Git) -> None:
    edit(git, SMOKE, "= 60", "= 600")


@way("A script is emptied", "script-emptied")
def _empty_script(git: Git) -> None:
    put(git, SCRIPT, "exit 0\n")
    git.commit("empty")


@way("A script is removed", "script-lost")
def _remove_script(git: Git) -> None:
    git("rm", "-q", SCRIPT)
    git.commit("remove")


def rewrite(before: str, after: str, text: str) -> None:
    """Register a way that replaces a part of a script."""

    def act(git: Git) -> None:
        edit(git, SCRIPT, before, after)

    WAYS.append(Way(text, act, ("note: script-rewritten",), ("note: script-rewritten",)))


rewrite("set -e", "trap 'exit 0' EXIT\nset -e", "A trap ends a script with success")
rewrite("set -e", "wg() { :; }\nset -e", "A function shadows the program")
rewrite(
    "set -e",
    "[[ -d / ]] && exit 0\nset -e",
    "A script ends early, by a condition that always holds",
)
rewrite("wg one", "wg one || :", "An error is ignored")
rewrite("wg one", "# wg one", "A step becomes a comment")


@way("A script sources another file", "note: script-rewritten", *TWO_INPUTS)
def _source_other(git: Git) -> None:
    edit(git, SCRIPT, "lib.sh", "other.sh")


@way("A sourced file is emptied", *TWO_INPUTS)
def _empty_helper(git: Git) -> None:
    put(git, LIB, "check_it() { :; }\n")
    git.commit("empty")


@way("A sourced file is removed", *TWO_INPUTS)
def _remove_helper(git: Git) -> None:
    git("rm", "-q", LIB)
    git.commit("remove")


@way(
    "A sourced file is replaced by a link to another one",
    *TWO_INPUTS,
    "note: input-rewritten",
)
def _link_helper(git: Git) -> None:
    put(git, "weak/lib.sh", "check_it() { :; }\n")
    (git.top / LIB).unlink()
    (git.top / LIB).symlink_to("../../../weak/lib.sh")
    git.commit("link")


@way("A file that a sourced file sources is weakened", "note: input-rewritten")
def _weaken_indirect_helper(git: Git) -> None:
    put(git, "tests/lib/deep.sh", "deep() { :; }\n")
    git.commit("weaken")


def create_project(top: Path) -> Git:
    """Create a project on a branch, with a reviewed manifest on the main branch."""
    return Git.copied(top, _fill_project)


def _fill_project(git: Git) -> None:
    git.commit("project", README_md="A project.\n")
    put(git, ".wg/graph.jsonl", "")
    put(git, ".gitignore", ".wg/\n")
    put(git, SMOKE, MANIFEST)
    put(git, SCRIPT, TEXT)
    put(git, "tests/smoke/scenarios/two.sh", "wg two\n")
    put(git, LIB, '. "$(dirname "$0")/../../lib/deep.sh"\ncheck_it() { deep; wg it; }\n')
    put(git, "tests/lib/deep.sh", "deep() { wg deep; }\n")
    git.commit("smoke")
    git("checkout", "-q", "-b", "feature")
    git.commit("feature", other_md="More.\n")


def compare(top: Path) -> Comparison:
    """Compare the manifests of a work tree with the default bases."""
    return comparison.compare(CheckRequest(working=top, environment={}))


def list_kinds(top: Path) -> tuple[str, ...] | None:
    """Return the kinds of the findings, those of notes after the word; None for an error."""
    try:
        found = compare(top).blamed
    except ManifestError:
        return None
    return tuple(f"{'' if item.loss.refused else 'note: '}{item.loss.kind}" for item in found)


def sort_kinds(kinds: tuple[str, ...] | None) -> list[str] | None:
    """Return kinds in an order that can be compared."""
    return None if kinds is None else sorted(kinds)


def clone_shallow(git: Git) -> Path:
    """Clone only the last commits of all branches, as a CI service does, and return the top."""
    clone = git.top.parent / "clone"
    source = f"file://{git.top}"
    git("clone", "-q", "--depth=1", "--no-single-branch", "--branch=feature", source, str(clone))
    git("-C", str(clone), "remote", "set-head", "origin", "main")
    return clone
