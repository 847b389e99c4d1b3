"""The hooks of agents and of git, called as their callers call them.

The inputs are those of the documentation (https://code.claude.com/docs/en/hooks, githooks(5)).
"""

import json
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from support import available
from support.git_repositories import Git
from support.project import BAD, GOOD, Project

STOP = {
    "session_id": "abc123",
    "transcript_path": "~/.claude/projects/.../00893aaf-19fa-41d2-8238-13269b9b3ca0.jsonl",
    "cwd": "/Users/...",
    "permission_mode": "default",
    "hook_event_name": "Stop",
    "stop_hook_active": True,
    "last_assistant_message": "I've completed the refactoring. Here's a summary...",
}
"""The input of Stop in the documentation."""

PRE_TOOL = {
    "session_id": "abc123",
    "transcript_path": "/home/user/.claude/projects/.../transcript.jsonl",
    "cwd": "/home/user/my-project",
    "permission_mode": "default",
    "hook_event_name": "PreToolUse",
    "tool_name": "Bash",
    "tool_input": {"command": "npm test"},
    "tool_use_id": "toolu_01ABC123",
}
"""The input of PreToolUse in the documentation."""

NO_VARIABLES: Mapping[str, str] = {}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project in a trusted repository; `good` and `bad` are owned by task-a and task-b."""
    available.require_engine("bubblewrap")
    project = Project.within(tmp_path, GOOD + BAD)
    Git(project.top).commit("first")
    trusted = project.run("trust")
    assert trusted.returncode == 0, trusted.stderr
    return project


def run_hook(
    project: Project, *arguments: str, text: str = "", variables: Mapping[str, str] = NO_VARIABLES
) -> "subprocess.CompletedProcess[str]":
    """Run `isosmoke hook` with a text on stdin, by default with a deadline for a busy machine."""
    name, *options = arguments
    return subprocess.run(
        project.command("hook", name, "--deadline", "900", *options),
        cwd=project.top,
        env={**project.environment(), **variables},
        input=text,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )


def stop(
    project: Project, task: str, *options: str, **fields: object
) -> "subprocess.CompletedProcess[str]":
    """Run the Stop hook for a task; `fields` replace those of the documented input."""
    text = json.dumps({**STOP, **fields})
    return run_hook(project, "claude-stop", "--task", task, *options, text=text)


def list_bypasses(project: Project) -> list[tuple[str, str | None]]:
    """Return the task and the agent of each recorded bypass."""
    file = project.top / ".isosmoke" / "bypasses.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(bypass["task"], bypass["agent"]) for bypass in map(json.loads, lines)]


@pytest.mark.parametrize("is_active", [True, False])
def test_agent_stops_only_if_the_gate_opens(project: Project, *, is_active: bool) -> None:
    """An agent that the hook already made continue is gated like any other."""
    passed = stop(project, "task-a", stop_hook_active=is_active)
    failed = stop(project, "task-b", stop_hook_active=is_active)

    assert (passed.returncode, passed.stderr) == (0, "")
    assert "gate: OPEN for 'task-a'" in json.loads(passed.stdout)["systemMessage"]
    assert (failed.returncode, failed.stdout) == (2, "")
    assert "gate: SHUT for 'task-b'" in failed.stderr
    assert "FAIL bad: exit 3: broken" in failed.stderr


def test_task_of_the_environment_is_gated(project: Project) -> None:
    """The variable that wg sets for its agents names the task; without it, everything must hold."""
    text = json.dumps(STOP)

    named = run_hook(project, "claude-stop", text=text, variables={"WG_TASK_ID": "task-a"})
    everything = run_hook(project, "claude-stop", text=text)

    assert named.returncode == 0, named.stderr
    assert everything.returncode == 2
    assert "gate: SHUT for 'claude-stop'" in everything.stderr


def test_bypass_is_recorded_at_the_limit(project: Project) -> None:
    """After so many blocks the agent stops; the next turn begins anew."""
    codes = [stop(project, "task-b", "--retries", "2").returncode for _ in range(4)]
    audit = project.run("audit", WG_DIR=str(create_graph(project)))

    assert codes == [2, 2, 0, 2]
    assert list_bypasses(project) == [("task-b", "claude-code session abc123")]
    assert audit.returncode == 1
    assert "task-b: bypassed the gate" in audit.stdout


def create_graph(project: Project) -> Path:
    """Create a graph without tasks, and return its directory."""
    graph = project.top / ".wg"
    graph.mkdir()
    (graph / "graph.jsonl").write_text("")
    return graph


def test_user_is_informed_of_a_bypass(project: Project) -> None:
    """The message for the user names the reason and the record."""
    stopped = stop(project, "task-b", "--retries", "0")

    message = json.loads(stopped.stdout)["systemMessage"]
    assert stopped.returncode == 0
    assert "the agent stopped although the gate is shut" in message
    assert "FAIL bad: exit 3: broken" in message


def test_open_gate_resets_the_count(project: Project) -> None:
    """Only blocks in a row count, and each session has its own count."""
    assert stop(project, "task-b", "--retries", "1").returncode == 2
    assert stop(project, "task-a", "--retries", "1").returncode == 0
    assert stop(project, "task-b", "--retries", "1").returncode == 2
    assert stop(project, "task-b", "--retries", "1", session_id="other").returncode == 2
    assert list_bypasses(project) == []


def test_limit_is_below_the_cap_of_claude_code(project: Project) -> None:
    """Claude Code would let the agent stop at its own cap, without a record."""
    text = json.dumps(STOP)
    cap = {"CLAUDE_CODE_STOP_HOOK_BLOCK_CAP": "2"}
    codes = [
        run_hook(project, "claude-stop", "--task", "task-b", text=text, variables=cap).returncode
        for _ in range(2)
    ]

    assert codes == [2, 0]
    assert len(list_bypasses(project)) == 1


def test_bypass_that_cannot_be_recorded_is_refused(project: Project) -> None:
    """The agent stays blocked."""
    (project.top / ".isosmoke").mkdir(exist_ok=True)
    (project.top / ".isosmoke" / "bypasses.jsonl").symlink_to("/dev/null")

    assert stop(project, "task-b", "--retries", "0").returncode == 2


def test_variable_of_claude_code_names_the_project(project: Project, tmp_path: Path) -> None:
    """An agent that changes its working directory does not select other scenarios."""
    other = Project.within(tmp_path / "elsewhere", GOOD.replace("task-a", "task-b"))
    Git(other.top).commit("other")
    subprocess.run(project.command("trust"), cwd=other.top, env=project.environment(), check=True)

    text = json.dumps({**STOP, "cwd": str(other.top)})
    arguments = ("claude-stop", "--task", "task-b")
    variables = {"CLAUDE_PROJECT_DIR": str(project.top)}

    assert run_hook(project, *arguments, text=text).returncode == 0
    assert run_hook(project, *arguments, text=text, variables=variables).returncode == 2


BAD_INPUTS = {
    "empty": "",
    "no JSON": "stop",
    "no object": "[1]",
    "nested": "[" * 100_000,
    "another event": json.dumps({**STOP, "hook_event_name": "PreToolUse"}),
    "no session": json.dumps({**STOP, "session_id": None}),
}


@pytest.mark.parametrize("text", BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_input_that_is_not_understood_blocks(project: Project, text: str) -> None:
    """No other exit code than 2 would block."""
    done = run_hook(project, "claude-stop", "--task", "task-a", text=text)

    assert done.returncode == 2
    assert "isosmoke: blocked: " in done.stderr


def break_manifest(project: Project) -> None:
    """Make the manifest invalid."""
    project.manifest.write_text("[[scenario]")


def remove_manifest(project: Project) -> None:
    """Remove the manifest."""
    project.manifest.unlink()


def break_state(project: Project) -> None:
    """Put a file in place of the directory of runs and receipts, and of that of the state."""
    (project.top / ".isosmoke").write_text("")
    (project.state / "scratch").mkdir(exist_ok=True)
    (project.state / "scratch").rmdir()
    (project.state / "scratch").write_text("")


@pytest.mark.parametrize("damage", [break_manifest, remove_manifest, break_state])
def test_gate_that_cannot_decide_blocks(
    project: Project, damage: Callable[[Project], None]
) -> None:
    """Exit codes 1, 2 and 125 of the gate are 2 for every agent and 1 for git."""
    damage(project)
    text = json.dumps(STOP)

    assert run_hook(project, "claude-stop", "--task", "task-a", text=text).returncode == 2
    assert run_hook(project, "generic", "--task", "task-a").returncode == 2


def test_engine_that_fails_blocks(project: Project) -> None:
    """A gate that ends with 125 blocks."""
    variables = {"ISOSMOKE_BWRAP": "/bin/false"}

    done = run_hook(project, "generic", "--task", "task-a", variables=variables)

    assert done.returncode == 2, done.stderr


def test_deadline_blocks(project: Project) -> None:
    """A hook that took longer than its caller allows would not block; nothing is left running."""
    project.path("scenarios/good.sh").write_text("echo started; sleep 600\n")

    done = stop(project, "task-a", "--deadline", "5")

    assert done.returncode == 2
    assert "no verdict within 5 s" in done.stderr
    assert available.wait_for(lambda: not list_processes(project), 60)


def test_deadline_at_the_limit_is_recorded(project: Project) -> None:
    """A gate that never answers cannot keep an agent for ever, but the bypass is recorded."""
    project.path("scenarios/good.sh").write_text("sleep 600\n")

    done = stop(project, "task-a", "--deadline", "3", "--retries", "0")

    assert done.returncode == 0, done.stderr
    assert list_bypasses(project) == [("task-a", "claude-code session abc123")]


def list_processes(project: Project) -> list[str]:
    """Return the pids of processes whose working directory is that of the project."""
    found = []
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdecimal() and (path / "cwd").readlink() == project.top:
                found.append(path.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_blocks(project: Project, number: signal.Signals) -> None:
    """A hook that is ended has no verdict."""
    project.path("scenarios/good.sh").write_text("echo started; sleep 600\n")
    with subprocess.Popen(
        project.command("hook", "generic", "--deadline", "900", "--task", "task-a"),
        cwd=project.top,
        env=project.environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as hook:
        logs = (project.top / ".isosmoke").glob
        assert available.wait_for(lambda: list(logs("runs/*/good/output-1.log")), 300)
        hook.send_signal(number)
        _, errors = hook.communicate(timeout=300)

    assert hook.returncode == 2
    assert "interrupted" in errors
    assert available.wait_for(lambda: not list_processes(project), 60)


def test_nothing_runs_from_a_repository_that_is_not_trusted(project: Project) -> None:
    """It blocks, and the scenario has not been run; trust is given once, in the user's state."""
    project.run("trust", "--revoke")
    project.path("scenarios/good.sh").write_text("exit 0\n")

    done = run_hook(project, "generic", "--task", "task-a")

    assert done.returncode == 2
    assert "is not trusted, so nothing of it was run" in done.stderr
    assert "isosmoke trust" in done.stderr
    assert not (project.top / ".isosmoke").exists()


def test_new_scenario_does_not_revoke_trust(project: Project) -> None:
    """The scenario that was added is run."""
    project.manifest.write_text(GOOD + BAD.replace("task-b", "task-a"))
    Git(project.top).commit("more")

    done = run_hook(project, "generic", "--task", "task-a")

    assert done.returncode == 2
    assert "FAIL bad: exit 3: broken" in done.stderr


def test_init_installs_the_hooks(project: Project) -> None:
    """The user is reminded to trust the repository, unless that has happened."""
    installed = project.run("init", "--hooks")
    project.run("trust", "--revoke")
    again = project.run("init", "--hooks")

    assert installed.returncode == again.returncode == 0, installed.stderr
    assert ".claude/settings.json: hooks added: Stop, PreToolUse" in installed.stdout
    assert ".git/hooks/pre-push: git hook created" in installed.stdout
    assert ".claude/settings.json: hooks unchanged" in again.stdout
    assert "isosmoke trust" not in installed.stdout
    assert "isosmoke trust" in again.stdout


def test_agent_cannot_trust(project: Project) -> None:
    """Only the user can."""
    project.run("trust", "--revoke")

    assert project.run("trust", WG_AGENT_ID="agent-1").returncode == 2
    assert project.run("trust", "--list").stdout == ""


def test_repository_does_not_replace_isosmoke(project: Project) -> None:
    """A module of that name in the repository is not imported."""
    (project.top / "isosmoke").mkdir()
    (project.top / "isosmoke" / "__main__.py").write_text(
        'print(\'{"open": true, "lines": []}\')\n'
    )

    with subprocess.Popen(
        [Path(project.command()[0]), "-P", "-m", "isosmoke", "hook", "generic", "--task", "task-b"],
        cwd=project.top,
        env=project.environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as hook:
        _, errors = hook.communicate(timeout=1200)

    assert hook.returncode == 2
    assert "FAIL bad: exit 3: broken" in errors


def pre_tool(project: Project, **fields: object) -> "subprocess.CompletedProcess[str]":
    """Run the PreToolUse hook; `fields` replace those of the documented input."""
    return run_hook(project, "claude-pre-tool", text=json.dumps({**PRE_TOOL, **fields}))


def test_bare_done_is_refused(project: Project) -> None:
    """The agent reads what to do instead; any other command is left to Claude Code."""
    refused = pre_tool(project, tool_input={"command": "cd src && wg done task-a"})
    passed = pre_tool(project)
    gated = pre_tool(project, tool_input={"command": "isosmoke done task-a"})

    assert refused.returncode == 2
    assert "use `isosmoke done TASK`" in refused.stderr
    assert (passed.returncode, passed.stdout, passed.stderr) == (0, "", "")
    assert gated.returncode == 0


@pytest.mark.parametrize(
    ("tool", "values", "code"),
    [
        ("Write", {"file_path": "/x", "content": "wg done task"}, 0),
        ("Read", {"file_path": "/x"}, 0),
        ("mcp__shell__run", {"cmd": "wg done task"}, 2),
        ("shell", {"command": ["bash", "-lc", "wg done task"]}, 2),
        ("Bash", {}, 2),
        ("Bash", {"command": 7}, 2),
        ("Bash", "wg done task", 2),
    ],
)
def test_input_of_each_tool_is_read(project: Project, tool: str, values: object, code: int) -> None:
    """The code of other tools is read as well; an input that is not understood blocks."""
    assert pre_tool(project, tool_name=tool, tool_input=values).returncode == code


def push_lines(*names: str) -> str:
    """Return the input of a pre-push hook for these local objects."""
    zeros = "0" * 40
    return "".join(f"refs/heads/main {name} refs/heads/main {zeros}\n" for name in names)


def commit(project: Project) -> str:
    """Commit everything but the records, and return the commit."""
    return Git(project.top).commit("all")


def test_push_needs_an_open_gate(project: Project) -> None:
    """The tested files are those of the pushed commit."""
    lines = push_lines(commit(project))
    arguments = ("git-pre-push", "origin", "https://example.invalid/x.git")

    passed = run_hook(project, *arguments, "--task", "task-a", text=lines)
    failed = run_hook(project, *arguments, text=lines)

    assert passed.returncode == 0, passed.stderr
    assert "gate: OPEN" in passed.stderr
    assert failed.returncode == 1
    assert "FAIL bad: exit 3: broken" in failed.stderr


def test_push_of_something_else_is_aborted(project: Project) -> None:
    """Neither another commit nor changes that are not committed can be tested."""
    first = commit(project)
    project.path("scenarios/good.sh").write_text("exit 0 # changed\n")
    arguments = ("git-pre-push", "--task", "task-a")

    dirty = run_hook(project, *arguments, text=push_lines(first))
    second = commit(project)
    other = run_hook(project, *arguments, text=push_lines(second, first))
    unknown = run_hook(project, *arguments, text=push_lines("1" * 40))

    assert (dirty.returncode, other.returncode, unknown.returncode) == (1, 1, 1)
    assert "are not those of the pushed commit" in dirty.stderr
    assert "is not checked out" in other.stderr


@pytest.mark.parametrize("option", ["--assume-unchanged", "--skip-worktree"])
def test_push_with_a_pinned_file_is_aborted(project: Project, option: str) -> None:
    """`git status` does not list a change of a file that git is set not to look at."""
    name = "scenarios/good.sh"
    first = commit(project)
    Git(project.top)("update-index", option, name)
    project.path(name).write_text("exit 0 # changed\n")

    done = run_hook(project, "git-pre-push", "--task", "task-a", text=push_lines(first))

    assert done.returncode == 1
    assert f"git ignores changes of {name}" in done.stderr
    assert f"git update-index --no{option[1:]} -- {name}" in done.stderr


@pytest.mark.parametrize(
    ("text", "code"), [("", 0), (f"(delete) {'0' * 40} refs/heads/x {'1' * 40}\n", 0), ("x\n", 1)]
)
def test_push_without_commits(project: Project, text: str, code: int) -> None:
    """A deletion needs no gate; a line that is not understood aborts the push."""
    assert run_hook(project, "git-pre-push", text=text).returncode == code


def test_git_runs_the_hook(project: Project, tmp_path: Path) -> None:
    """A real push is aborted while a scenario fails, and goes on once it passes."""
    repository = Git(project.top)
    remote = tmp_path / "remote.git"
    repository("init", "--quiet", "--bare", str(remote))
    hook = project.top / ".git" / "hooks" / "pre-push"
    hook.parent.mkdir(exist_ok=True)
    python = project.command()[0]
    hook.write_text(f'#!/bin/sh\nexec {python} -m isosmoke hook git-pre-push "$@"\n')
    hook.chmod(0o755)

    def push() -> int:
        return subprocess.run(
            ["git", "push", "--quiet", str(remote), "main"],
            cwd=project.top,
            env=project.environment(),
            capture_output=True,
            timeout=1200,
            check=False,
        ).returncode

    assert push() == 1
    assert repository("ls-remote", str(remote)) == ""
    project.path("scenarios/bad.sh").write_text("exit 0\n")
    commit(project)
    assert push() == 0
    assert repository("ls-remote", str(remote)) != ""
