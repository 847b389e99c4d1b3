"""`isosmoke init --hooks` adds its hooks, and changes no other hook."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from isosmoke.authoring import setup
from isosmoke.errors import UsageError
from isosmoke.hooks import installation
from support.git_repositories import Git

OTHER = {"matcher": "Write", "hooks": [{"type": "command", "command": "./format.sh é"}]}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return an environment with a fake isosmoke on PATH, which exits with $CODE."""
    program = tmp_path / "bin" / "isosmoke"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nexit "${CODE:-0}"\n')
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """Return the top directory of a repository with one commit."""
    Git(tmp_path / "project").commit("first")
    return tmp_path / "project"


def install(top: Path, environment: dict[str, str]) -> list[str]:
    """Install the hooks and return what was done for each file."""
    steps = installation.plan(top, environment)
    setup.carry_out(steps)
    return [step.description for step in steps]


def read_settings(top: Path) -> dict[str, dict[str, list[dict[str, object]]]]:
    """Return the settings of Claude Code."""
    settings: dict[str, dict[str, list[dict[str, object]]]] = json.loads(
        (top / installation.SETTINGS).read_text()
    )
    return settings


def list_commands(top: Path, event: str) -> list[str]:
    """Return the commands of an event."""
    groups = json.loads((top / installation.SETTINGS).read_text())["hooks"][event]
    return [hook["command"] for group in groups for hook in group["hooks"]]


def test_hooks_are_added_once(top: Path, environment: dict[str, str]) -> None:
    """A second run changes nothing."""
    first = install(top, environment)
    before = (top / installation.SETTINGS).read_bytes()
    second = install(top, environment)

    assert first == ["hooks added: Stop, PreToolUse", "git hook created"]
    assert second == ["hooks unchanged", "git hook unchanged"]
    assert (top / installation.SETTINGS).read_bytes() == before
    assert list_commands(top, "Stop") == ["isosmoke hook claude-stop --deadline 540 || exit 2"]
    assert list_commands(top, "PreToolUse") == ["isosmoke hook claude-pre-tool || exit 2"]
    assert os.access(top / ".git" / "hooks" / "pre-push", os.X_OK)


def test_deadline_is_shorter_than_the_timeout(top: Path, environment: dict[str, str]) -> None:
    """Claude Code would let the agent go on after the timeout."""
    install(top, environment)

    ((group,), (_,)) = (read_settings(top)["hooks"][event] for event in ("Stop", "PreToolUse"))
    assert '"timeout": 600' in json.dumps(group)
    assert "--deadline 540" in json.dumps(group)


def test_other_hooks_and_settings_stay(top: Path, environment: dict[str, str]) -> None:
    """The order and the indentation stay as well."""
    old = {"model": "opus", "hooks": {"PreToolUse": [OTHER], "Notification": []}, "env": {"A": "1"}}
    file = top / installation.SETTINGS
    file.parent.mkdir()
    file.write_text(json.dumps(old, indent="\t", ensure_ascii=False))

    install(top, environment)

    new = read_settings(top)
    assert list(new) == ["model", "hooks", "env"]
    assert new["hooks"]["PreToolUse"][0] == OTHER
    assert new["hooks"]["Notification"] == []
    assert file.read_text().startswith('{\n\t"model"')
    assert "é" in file.read_text()


@pytest.mark.parametrize("code", [1, 2, 4, 77, 99, 125, 127, 137])
def test_any_failure_of_the_program_blocks(
    top: Path, environment: dict[str, str], code: int
) -> None:
    """The exit code of the hook is the one that blocks, for each exit code of isosmoke."""
    install(top, environment)
    (stop,) = list_commands(top, "Stop")
    push = top / ".git" / "hooks" / "pre-push"
    failing = {**environment, "CODE": str(code)}

    assert subprocess.run(["sh", "-c", stop], env=failing, check=False).returncode == 2
    assert subprocess.run([push], env=failing, check=False).returncode == 1
    assert subprocess.run(["sh", "-c", stop], env=environment, check=False).returncode == 0
    assert subprocess.run([push], env=environment, check=False).returncode == 0


def test_program_that_is_missing_blocks(top: Path, environment: dict[str, str]) -> None:
    """The shell's exit code for a missing program would not block."""
    install(top, environment)
    (stop,) = list_commands(top, "Stop")

    done = subprocess.run(
        ["/bin/sh", "-c", stop], env={"PATH": "/nowhere"}, capture_output=True, check=False
    )

    assert done.returncode == 2


def test_program_that_is_not_on_path_is_named(environment: dict[str, str]) -> None:
    """The hook of a git client has another PATH than a shell."""
    assert installation.find_program(environment) == "isosmoke"
    assert "isosmoke" in installation.find_program({"PATH": "/nowhere"})
    assert installation.find_program({"PATH": "/nowhere"}).startswith("/")


def test_other_git_hook_is_not_touched(top: Path, environment: dict[str, str]) -> None:
    """The line to add to it is shown."""
    hook = top / ".git" / "hooks" / "pre-push"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 0\n")

    (_, step) = install(top, environment)

    assert hook.read_text() == "#!/bin/sh\nexit 0\n"
    assert 'add to it: isosmoke hook git-pre-push "$@" || exit 1' in step


def test_own_directory_of_hooks_is_not_touched(top: Path, environment: dict[str, str]) -> None:
    """A hook in git's own directory would never run there."""
    Git(top)("config", "core.hooksPath", ".husky")

    (_, step) = install(top, environment)

    assert "core.hooksPath is .husky" in step
    assert not (top / ".git" / "hooks" / "pre-push").exists()


def test_worktree_shares_the_git_hook(
    top: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """The settings are those of the work tree, and the hook is that of the repository."""
    Git(top)("worktree", "add", "--quiet", str(tmp_path / "agent"), "-b", "agent")

    install(tmp_path / "agent", environment)

    assert (tmp_path / "agent" / installation.SETTINGS).exists()
    assert (top / ".git" / "hooks" / "pre-push").exists()


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"hooks": []}', b'{"hooks": {"Stop": {}}}', b"\xff\xfe"]
)
def test_settings_that_are_damaged_are_an_error(
    top: Path, environment: dict[str, str], content: bytes
) -> None:
    """Nothing is written."""
    file = top / installation.SETTINGS
    file.parent.mkdir()
    file.write_bytes(content)

    with pytest.raises(UsageError) as refused:
        install(top, environment)

    assert refused.value.hint
    assert file.read_bytes() == content
    assert not (top / ".git" / "hooks" / "pre-push").exists()


def test_link_out_of_the_project_is_refused(
    top: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """The settings of another project are not changed."""
    (tmp_path / "settings.json").write_text("{}")
    (top / ".claude").mkdir()
    (top / installation.SETTINGS).symlink_to(tmp_path / "settings.json")

    with pytest.raises(UsageError):
        install(top, environment)

    assert (tmp_path / "settings.json").read_text() == "{}"
