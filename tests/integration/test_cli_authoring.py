"""`isosmoke init`, `new`, `check` and `agent-guide` as a user types them."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from isosmoke.authoring import agent_rules
from isosmoke.errors import ExitCode
from support.git_repositories import Git

Cli = Callable[..., "subprocess.CompletedProcess[str]"]

NEW = ("new", "extra", "--owner", "task-a", "--assertion", "It holds.")


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """A repository without a commit, in which the user stands."""
    return Git(tmp_path / "project")


@pytest.fixture
def cli(git: Git, tmp_path: Path) -> Cli:
    """Run `isosmoke` in the repository, for a user with a HOME and the system's tools."""

    def run(*words: str, folder: Path = git.top) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "isosmoke", *words],
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "ISOSMOKE_STATE": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_a_repository_from_nothing_to_a_refusal(git: Git, cli: Cli) -> None:
    """Set up, checked, extended, committed: then a scenario is lost, and its commit is named."""
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
    assert "try: put it back" in done.stderr


def test_check_tells_what_is_only_to_be_read(git: Git, cli: Cli) -> None:
    """A reworded assertion is a note, and passes."""
    cli("init")
    git.commit("smoke")
    path = git.top / "tests/smoke/manifest.toml"
    path.write_text(path.read_text().replace("starts and says", "says"))

    done = cli("check", "--against", "HEAD")

    assert done.returncode == ExitCode.OK
    assert "note: scenario 'binary_starts': assertion reworded" in done.stdout
    assert "nothing lost or weakened since" in done.stderr


@pytest.mark.parametrize(
    ("line", "judged"),
    [
        (
            'requires = { commands = ["no-such-program"] }',
            (ExitCode.BLOCKED, "'binary_starts': requires.commands extended by 'no-such-program'"),
        ),
        ('image = "debian"', (ExitCode.OK, "note: scenario 'binary_starts': image changed from")),
        ("limits = { open_files = 7 }", (ExitCode.OK, "note: scenario 'binary_starts': limits.")),
        ('tags = ["slow"]', (ExitCode.OK, "note: scenario 'binary_starts': tags: 'slow' added")),
    ],
)
def test_check_judges_what_else_a_scenario_runs_in(
    git: Git, cli: Cli, line: str, judged: tuple[ExitCode, str]
) -> None:
    """What can switch a scenario off is refused; another sandbox is named for a reader."""
    cli("init")
    git.commit("smoke")
    manifest = git.top / "tests/smoke/manifest.toml"
    manifest.write_text(f"{manifest.read_text()}{line}\n")

    done = cli("check", "--against", "HEAD")

    code, words = judged
    assert (done.returncode, words in done.stdout) == (code, True), done.stdout


def test_check_prints_no_subject_that_steers_a_terminal(git: Git, cli: Cli) -> None:
    """The words of a commit are somebody else's: its control characters are made visible."""
    cli("init")
    git.commit("smoke")
    git("checkout", "-q", "-b", "feature")
    (git.top / "tests/smoke/scenarios/binary_starts.sh").unlink()
    git.commit("\x1b[2Jguilty")

    assert '"\\x1b[2Jguilty"' in cli("check").stdout


@pytest.mark.parametrize("name", ["nope", ""])
def test_check_against_nothing_never_passes(git: Git, cli: Cli, name: str) -> None:
    """A revision that git does not know, or an empty variable of CI, is an error."""
    cli("init")
    git.commit("smoke")

    done = cli("check", "--against", name)

    assert done.returncode == ExitCode.USAGE
    assert "knows no revision" in done.stderr


def test_check_outside_a_repository_never_passes(tmp_path: Path, cli: Cli) -> None:
    """No history is an error, not a pass."""
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "manifest.toml").write_text('[[scenario]]\nname = "x"\nscript = "x"\n')

    done = cli("check", folder=folder)

    assert done.returncode == ExitCode.USAGE
    assert "no git repository" in done.stderr


def test_check_takes_the_manifest_it_is_given(git: Git, cli: Cli) -> None:
    """A manifest that was removed is a loss of all that was in it."""
    cli("init")
    git.commit("smoke")
    (git.top / "tests/smoke/manifest.toml").unlink()

    done = cli("check", "--manifest", "tests/smoke/manifest.toml")

    assert done.returncode == ExitCode.BLOCKED
    assert "scenario 'binary_starts': lost (not committed yet)" in done.stdout


def test_check_in_a_git_hook_stops_the_commit(git: Git, cli: Cli) -> None:
    """As a hook it keeps a loss out of the history, also in a worktree, where git names folders."""
    cli("init")
    git.commit("smoke")
    hook = git.top / ".git/hooks/pre-commit"
    hook.write_text(f"#!/bin/sh\nexec {sys.executable} -m isosmoke check\n")
    hook.chmod(0o755)
    tree = git.top.parent / "tree"
    git("worktree", "add", "-q", "-b", "agent", str(tree))
    (tree / "tests/smoke/scenarios/binary_starts.sh").write_text("exit 0\n")

    commit = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "empty"]
    done = subprocess.run(commit, cwd=tree, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "was emptied" in done.stdout + done.stderr


def test_init_says_each_step_and_again_that_none_is_left(cli: Cli, git: Git) -> None:
    """One line for each file, from the top of the repository, wherever one stands in it."""
    (git.top / "src").mkdir()

    assert cli("init", folder=git.top / "src").stdout.splitlines() == [
        "tests/smoke/scenarios/binary_starts.sh: made",
        "tests/smoke/manifest.toml: made, with scenario 'binary_starts'",
        "AGENTS.md: the agents' rule added",
    ]
    assert cli("init").stdout.splitlines() == [
        "tests/smoke/manifest.toml: adopted as it is, 1 scenario",
        "AGENTS.md: up to date",
    ]


def test_init_outside_a_repository_is_an_error(tmp_path: Path, cli: Cli) -> None:
    """Nothing is written where nothing can be compared later."""
    folder = tmp_path / "plain"
    folder.mkdir()

    done = cli("init", folder=folder)

    assert done.returncode == ExitCode.USAGE
    assert "git init" in done.stderr
    assert [*folder.iterdir()] == []


def test_new_adds_a_scenario_that_fails(cli: Cli, git: Git) -> None:
    """The entry and the script are made, and both are named."""
    cli("init")

    done = cli(*NEW, "--owner", "task-b", "--timeout", "9", "--script", "s/extra.sh")

    assert done.stdout.splitlines() == [
        "tests/smoke/manifest.toml: scenario 'extra' added",
        "tests/smoke/s/extra.sh: made; it fails until you write it",
    ]
    assert 'owners = ["task-a", "task-b"]' in (git.top / "tests/smoke/manifest.toml").read_text()
    script = git.top / "tests/smoke/s/extra.sh"
    assert subprocess.run([script], capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize(
    "words",
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
def test_new_refuses_what_is_wrong_or_taken(cli: Cli, git: Git, words: tuple[str, ...]) -> None:
    """Usage is exit 2, in words, and the manifest is as it was."""
    cli("init")
    cli(*NEW)
    before = (git.top / "tests/smoke/manifest.toml").read_bytes()

    done = cli(*words)

    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
    assert "Traceback" not in done.stderr
    assert (git.top / "tests/smoke/manifest.toml").read_bytes() == before


def test_the_agents_guide_is_the_rule_that_init_places(cli: Cli, git: Git) -> None:
    """A prompt template and a project's own file say the same."""
    cli("init")

    done = cli("agent-guide")

    assert done.stdout == agent_rules.text()
    assert done.stdout in (git.top / "AGENTS.md").read_text()
