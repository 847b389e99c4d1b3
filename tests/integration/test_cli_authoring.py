"""The commands `isosmoke init`, `new`, `check` and `agent-guide`."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from isosmoke.authoring import agent_rules
from isosmoke.errors import ExitCode
from support import forked_commands
from support.git_repositories import Git

Cli = Callable[..., "subprocess.CompletedProcess[str]"]

PATH = "/usr/bin:/bin"
NEW = ("new", "extra", "--owner", "task-a", "--assertion", "It holds.")


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Return an empty repository, the working directory of the user."""
    return Git(tmp_path / "project")


@pytest.fixture
def cli(git: Git, tmp_path: Path) -> Cli:
    """Return a function that runs `isosmoke` in the repository with a minimal environment."""
    minimal = {"PATH": PATH, "HOME": str(tmp_path), "ISOSMOKE_STATE": str(tmp_path)}

    def run(
        *arguments: str, cwd: Path = git.top, variables: Mapping[str, str] = MappingProxyType({})
    ) -> "subprocess.CompletedProcess[str]":
        return forked_commands.run(arguments, cwd, {**minimal, **variables})

    return run


def read_lines(file: Path) -> list[str]:
    """Return the lines of a file, with their line endings."""
    return file.read_text().splitlines(keepends=True)


def test_check_names_the_commit_that_lost_a_scenario(git: Git, cli: Cli) -> None:
    """After setup and an added scenario, removing it is refused with the guilty commit."""
    git.commit("project")
    assert cli("init").returncode == ExitCode.OK
    assert cli("check").returncode == ExitCode.OK
    git.commit("smoke")
    assert cli(*NEW).returncode == ExitCode.OK
    git.commit("extra")
    assert cli("check").returncode == ExitCode.OK
    git("checkout", "-q", "-b", "feature")
    path = git.top / "tests/smoke/manifest.toml"
    path.write_text(path.read_text().partition('\n[[scenario]]\nname = "extra"')[0])
    guilty = git.commit("guilty")

    done = cli("check")

    assert done.returncode == ExitCode.BLOCKED
    assert done.stdout == (
        f"tests/smoke/manifest.toml: scenario 'extra': lost (commit {guilty[:7]} \"guilty\")\n"
    )
    assert "REFUSED, 1 lost or weakened since" in done.stderr
    assert "try: restore it" in done.stderr


def test_check_notes_a_reworded_assertion(git: Git, cli: Cli) -> None:
    """A reworded assertion produces a note and passes."""
    cli("init")
    git.commit("smoke")
    path = git.top / "tests/smoke/manifest.toml"
    path.write_text(path.read_text().replace("starts and prints", "prints"))

    done = cli("check", "--against", "HEAD")

    assert done.returncode == ExitCode.OK
    assert "note: scenario 'project_starts': assertion reworded" in done.stdout
    assert "nothing lost or weakened since" in done.stderr


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            'requires = { commands = ["no-such-program"] }',
            (ExitCode.BLOCKED, "'project_starts': requires.commands extended by 'no-such-program'"),
        ),
        ('image = "debian"', (ExitCode.BLOCKED, "scenario 'project_starts': image changed from")),
        ("limits = { open_files = 7 }", (ExitCode.OK, "note: scenario 'project_starts': limits.")),
        ('tags = ["slow"]', (ExitCode.OK, "")),
    ],
)
def test_check_judges_other_changes_of_a_scenario(
    git: Git, cli: Cli, line: str, expected: tuple[ExitCode, str]
) -> None:
    """A change that can disable a scenario is refused; other sandbox changes are noted."""
    cli("init")
    git.commit("smoke")
    manifest = git.top / "tests/smoke/manifest.toml"
    key = line.partition(" ")[0]
    others = [other for other in read_lines(manifest) if not other.startswith(key)]
    manifest.write_text("".join([*others, f"{line}\n"]))

    done = cli("check", "--against", "HEAD")

    code, message = expected
    assert (done.returncode, message in done.stdout) == (code, True), done.stdout


def test_check_escapes_commit_subjects(git: Git, cli: Cli) -> None:
    """Control characters of a commit subject are escaped."""
    cli("init")
    git.commit("smoke")
    git("checkout", "-q", "-b", "feature")
    (git.top / "tests/smoke/scenarios/project_starts.sh").unlink()
    git.commit("\x1b[2Jguilty")

    assert '"\\x1b[2Jguilty"' in cli("check").stdout


@pytest.mark.parametrize("name", ["nope", ""])
def test_check_against_an_unknown_revision_fails(git: Git, cli: Cli, name: str) -> None:
    """An unknown or empty revision is an error."""
    cli("init")
    git.commit("smoke")

    done = cli("check", "--against", name)

    assert done.returncode == ExitCode.USAGE
    assert "knows no revision" in done.stderr


def test_check_outside_a_repository_fails(tmp_path: Path, cli: Cli) -> None:
    """A missing history is an error."""
    directory = tmp_path / "plain"
    directory.mkdir()
    (directory / "manifest.toml").write_text('[[scenario]]\nname = "x"\nscript = "x"\n')

    done = cli("check", cwd=directory)

    assert done.returncode == ExitCode.USAGE
    assert "not in a git repository" in done.stderr


def test_check_of_a_removed_manifest_is_refused(git: Git, cli: Cli) -> None:
    """A removed manifest loses all of its scenarios."""
    cli("init")
    git.commit("smoke")
    (git.top / "tests/smoke/manifest.toml").unlink()

    done = cli("check", "--manifest", "tests/smoke/manifest.toml")

    assert done.returncode == ExitCode.BLOCKED
    assert "scenario 'project_starts': lost (not committed yet)" in done.stdout


def test_check_in_a_git_hook_stops_the_commit(git: Git, cli: Cli) -> None:
    """A pre-commit hook refuses a loss, also in a worktree, where git sets its variables."""
    cli("init")
    git.commit("smoke")
    hook = git.top / ".git/hooks/pre-commit"
    hook.write_text(f"#!/bin/sh\nexec {sys.executable} -m isosmoke check\n")
    hook.chmod(0o755)
    tree = git.top.parent / "tree"
    git("worktree", "add", "-q", "-b", "agent", str(tree))
    (tree / "tests/smoke/scenarios/project_starts.sh").write_text("exit 0\n")

    commit = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "empty"]
    done = subprocess.run(commit, cwd=tree, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "was emptied" in done.stdout + done.stderr


def test_init_prints_each_step(cli: Cli, git: Git) -> None:
    """`init` prints a line per file, relative to the repository; a rerun changes nothing."""
    (git.top / "src").mkdir()

    assert cli("init", cwd=git.top / "src").stdout.splitlines() == [
        "tests/smoke/scenarios/project_starts.sh: created",
        "tests/smoke/manifest.toml: created with scenario 'project_starts'",
        "AGENTS.md: rules for agents added",
        ".agents/skills/isosmoke/SKILL.md: skill added",
    ]
    assert cli("init").stdout.splitlines() == [
        "tests/smoke/manifest.toml: adopted unchanged, 1 scenario",
        "AGENTS.md: up to date",
        ".agents/skills/isosmoke/SKILL.md: up to date",
    ]


@pytest.mark.usefixtures("git")
def test_first_run_without_wg_says_how_to_name_it(cli: Cli) -> None:
    """After `init`, a run without a live binary is a loud skip that names `--binary`."""
    if shutil.which("wg", path=PATH):
        pytest.skip(f"{PATH} has a wg")
    cli("init")

    done = cli("run")

    assert done.returncode == ExitCode.ALL_SKIPPED, done.stdout + done.stderr
    assert "SKIP" in done.stdout
    assert "--binary PATH" in done.stdout


def test_scenario_that_needs_no_wg_but_uses_it_says_how_to_name_it(git: Git, cli: Cli) -> None:
    """A failure because there is no live binary names `--binary` too, in `run` and in `gate`."""
    if shutil.which("wg", path=PATH):
        pytest.skip(f"{PATH} has a wg")
    cli("init")
    manifest = git.top / "tests/smoke/manifest.toml"
    others = [line for line in read_lines(manifest) if not line.startswith("requires")]
    manifest.write_text("".join([*others, 'owners = ["task"]\n']))

    run, gate = cli("run"), cli("gate", "task")

    assert (run.returncode, gate.returncode) == (ExitCode.BLOCKED, ExitCode.BLOCKED)
    assert "exit 127" in run.stdout
    assert "--binary PATH" in run.stdout
    assert "--binary PATH" in gate.stderr


def test_init_outside_a_repository_is_an_error(tmp_path: Path, cli: Cli) -> None:
    """Outside of a repository `init` writes nothing."""
    directory = tmp_path / "plain"
    directory.mkdir()

    done = cli("init", cwd=directory)

    assert done.returncode == ExitCode.USAGE
    assert "git init" in done.stderr
    assert [*directory.iterdir()] == []


def test_new_adds_a_scenario_that_fails(cli: Cli, git: Git) -> None:
    """`new` creates the entry and the script and names both."""
    cli("init")

    done = cli(*NEW, "--owner", "task-b", "--timeout", "9", "--script", "s/extra.sh")

    assert done.stdout.splitlines() == [
        "tests/smoke/manifest.toml: scenario 'extra' added",
        "tests/smoke/s/extra.sh: created; it fails until you write it",
    ]
    assert 'owners = ["task-a", "task-b"]' in (git.top / "tests/smoke/manifest.toml").read_text()
    script = git.top / "tests/smoke/s/extra.sh"
    assert subprocess.run([script], capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [
        NEW,
        ("new", "-x", "--owner", "a", "--assertion", "b"),
        ("new", "a/b", "--owner", "a", "--assertion", "b"),
        ("new", "x", "--assertion", "b"),
        ("new", "x", "--owner", "a"),
        ("new", "x", "--owner", "a", "--assertion", ""),
        ("new", "x", "--owner", "a", "--assertion", "b", "--timeout", "0"),
    ],
)
def test_new_refuses_invalid_arguments(cli: Cli, git: Git, arguments: tuple[str, ...]) -> None:
    """Invalid arguments or a used name exit 2 and leave the manifest unchanged."""
    cli("init")
    cli(*NEW)
    before = (git.top / "tests/smoke/manifest.toml").read_bytes()

    done = cli(*arguments)

    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
    assert "Traceback" not in done.stderr
    assert (git.top / "tests/smoke/manifest.toml").read_bytes() == before


def test_agent_guide_prints_the_rules_that_init_adds(cli: Cli, git: Git) -> None:
    """`agent-guide` and the file written by `init` contain the same rules."""
    cli("init")

    done = cli("agent-guide")

    assert done.stdout == agent_rules.read_rules()
    assert done.stdout in (git.top / "AGENTS.md").read_text()


def read_findings(done: "subprocess.CompletedProcess[str]") -> dict[str, list[str]]:
    """Return the kinds of the losses and notes in the JSON output of `check`."""
    document = json.loads(done.stdout)
    return {name: [item["kind"] for item in document[name]] for name in ("losses", "notes")}


def test_check_prints_losses_and_notes_as_json(git: Git, cli: Cli) -> None:
    """A note exits 0, and 1 with `--strict`; a loss exits 1. Each has its commit and its digest."""
    git.commit("project")
    cli("init")
    git.commit("smoke")
    git("checkout", "-q", "-b", "feature")
    script = git.top / "tests/smoke/scenarios/project_starts.sh"
    script.write_text("trap 'exit 0' EXIT\n" + script.read_text())
    guilty = git.commit("guilty")

    done = cli("check", "--json")

    assert done.returncode == ExitCode.OK
    assert read_findings(done) == {"losses": [], "notes": ["script-rewritten"]}
    (note,) = json.loads(done.stdout)["notes"]
    assert note["place"] == "tests/smoke/manifest.toml: scenario 'project_starts'"
    assert note["commit"] == f'commit {guilty[:7]} "guilty"'
    assert cli("check", "--strict").returncode == ExitCode.BLOCKED
    trailer = f"Isosmoke-Reviewed: project_starts {note['digest']}"
    assert trailer in cli("check").stderr
    git.commit(f"reviewed\n\n{trailer}")
    assert cli("check", "--strict").returncode == ExitCode.OK

    script.write_text("exit 0\n")
    done = cli("check", "--json")
    assert done.returncode == ExitCode.BLOCKED
    assert read_findings(done) == {"losses": ["script-emptied"], "notes": []}


def test_branches_that_both_add_a_scenario_can_be_merged(git: Git, cli: Cli) -> None:
    """If git cannot merge two new scenarios, the message says how to keep both."""
    git.commit("project")
    cli("init")
    git.commit("smoke")
    for name in ("left", "right"):
        git("checkout", "-q", "-b", name, "main")
        cli("new", name, "--owner", f"task-{name}", "--assertion", f"{name} holds.")
        git.commit(name)
    merge = [
        "git",
        "-C",
        str(git.top),
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b",
        "merge",
        "left",
    ]
    merged = subprocess.run(merge, capture_output=True, text=True, check=False)
    path = git.top / "tests/smoke/manifest.toml"
    assert (merged.returncode != 0) == ("<<<<<<<" in path.read_text())

    done = cli("check")

    assert done.returncode == ExitCode.USAGE
    assert "has conflict markers of git" in done.stderr
    assert "keep the entries of both branches" in done.stderr
    text = path.read_text().replace("=======\n", "\n[[scenario]]\n")
    lines = (line for line in text.splitlines() if not line.startswith(("<<<<<<<", ">>>>>>>")))
    path.write_text("\n".join(lines) + "\n")
    git.commit("merge")
    assert cli("check").returncode == ExitCode.OK
    assert {"left", "right"} <= set(cli("list").stdout.split())


def create_tree(git: Git, cli: Cli) -> Git:
    """Return the work tree of an agent, whose graph directory is a link to the main one's."""
    git.commit("project")
    cli("init")
    (git.top / ".gitignore").write_text(".wg\n")
    git.commit("smoke")
    (git.top / ".wg").mkdir()
    tree = Git.__new__(Git)
    tree.top = git.top.parent / "tree"
    git("worktree", "add", "-q", "-b", "agent", str(tree.top))
    (tree.top / ".wg").symlink_to(git.top / ".wg")
    return tree


def test_new_and_check_use_the_manifest_of_the_work_tree(git: Git, cli: Cli) -> None:
    """In the work tree of an agent, the main checkout's manifest is neither read nor written."""
    tree = create_tree(git, cli)
    main = (git.top / "tests/smoke/manifest.toml").read_bytes()

    assert cli(*NEW, cwd=tree.top).returncode == ExitCode.OK

    assert (git.top / "tests/smoke/manifest.toml").read_bytes() == main
    assert 'name = "extra"' in (tree.top / "tests/smoke/manifest.toml").read_text()
    assert cli("check", cwd=tree.top).returncode == ExitCode.OK
    (tree.top / "tests/smoke/scenarios/project_starts.sh").write_text("exit 0\n")
    done = cli("check", "--json", cwd=tree.top)
    assert read_findings(done)["losses"] == ["script-emptied"]


def test_new_and_check_work_on_the_source_of_a_bridge(git: Git, cli: Cli) -> None:
    """With a bridge in the environment, also after the manifest has changed, both just work."""
    git.commit("project")
    cli("init")
    git.commit("smoke")
    git("checkout", "-q", "-b", "feature")
    exported = cli("bridge").stdout
    name, _, mirror = exported.removeprefix("export ").strip().partition("=")

    for scenario in ("first", "second"):
        arguments = ("new", scenario, "--owner", "a", "--assertion", "b")
        assert cli(*arguments, variables={name: mirror}).returncode == ExitCode.OK
    assert cli("check", variables={name: mirror}).returncode == ExitCode.OK
    assert cli("bridge", variables={name: mirror}).returncode == ExitCode.OK
    assert "second" in Path(mirror).read_text()
