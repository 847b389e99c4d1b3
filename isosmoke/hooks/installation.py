"""Installation of the hooks in a repository, next to the hooks that are there.

Claude Code reads `.claude/settings.json` of a project (https://code.claude.com/docs/en/settings);
its `hooks` are described at https://code.claude.com/docs/en/hooks ("Configuration"). git runs
`hooks/pre-push` of the common directory, unless `core.hooksPath` names another one (githooks(5)).
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from isosmoke.authoring.setup import Step
from isosmoke.errors import UsageError
from isosmoke.host import files, git
from isosmoke.host.git import GitError
from isosmoke.text import quote_command

SETTINGS = Path(".claude", "settings.json")

_STOP = "hook claude-stop"
_PRE_TOOL = "hook claude-pre-tool"
_PRE_PUSH = "hook git-pre-push"

_STOP_TIMEOUT = 600
_STOP_DEADLINE = 540
_PRE_TOOL_TIMEOUT = 60
"""The timeouts of Claude Code, and the earlier deadline of the gate, in seconds."""

_TOOLS = "Bash|mcp__.*"
"""The tools whose input may have shell code."""


def plan(top: Path, environment: Mapping[str, str]) -> tuple[Step, ...]:
    """Return the steps that install the hooks in the repository `top`, without writing anything.

    Raises:
        UsageError: if the settings of Claude Code cannot be extended.
        GitError: if git refuses to read the repository.
    """
    program = find_program(environment)
    return (_plan_settings(top, program), *_plan_git(top, program, environment))


def find_program(environment: Mapping[str, str]) -> str:
    """Return how a hook calls isosmoke: by name if it is on PATH, else by its path."""
    if shutil.which("isosmoke", path=environment.get("PATH", "")):
        return "isosmoke"
    script = Path(sys.executable).with_name("isosmoke")
    command = [str(script)] if script.is_file() else [sys.executable, "-P", "-m", "isosmoke"]
    return quote_command(command)


def _plan_settings(top: Path, program: str) -> Step:
    path = top / SETTINGS
    target = files.resolve_in_project(path, top)
    content = files.read(target) if target.exists() else b""
    settings = _parse(content, path)
    added = [*_add_hooks(settings, program, path)]
    if not added:
        return Step(path, "hooks unchanged")
    indent = _find_indent(content.decode())
    text = json.dumps(settings, indent=indent, ensure_ascii=False)
    return Step(path, f"hooks added: {', '.join(added)}", f"{text}\n".encode())


def _parse(content: bytes, path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(content.decode()) if content.strip() else {}
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON: {error}", "correct the file") from error
    if not isinstance(settings, dict):
        raise UsageError(f"{path} is not a JSON object", "correct the file")
    return settings


def _find_indent(text: str) -> str:
    match = re.search(r"^[ \t]+(?=\S)", text, re.MULTILINE)
    return match[0] if match else "  "


def _add_hooks(settings: dict[str, Any], program: str, path: Path) -> Iterator[str]:
    """Add the hooks that are missing to the settings, and yield the event of each."""
    stop = f"{program} {_STOP} --deadline {_STOP_DEADLINE}"
    wanted = (
        ("Stop", None, _STOP, stop, _STOP_TIMEOUT),
        ("PreToolUse", _TOOLS, _PRE_TOOL, f"{program} {_PRE_TOOL}", _PRE_TOOL_TIMEOUT),
    )
    for event, matcher, name, command, timeout in wanted:
        groups = _find_groups(settings, event, path)
        if name in json.dumps(groups):
            continue
        # Only exit code 2 blocks, and a program that is missing would end with 127.
        hook = {"type": "command", "command": f"{command} || exit 2", "timeout": timeout}
        groups.append({**({"matcher": matcher} if matcher else {}), "hooks": [hook]})
        yield event


def _find_groups(settings: dict[str, Any], event: str, path: Path) -> list[Any]:
    hooks = settings.setdefault("hooks", {})
    groups = hooks.setdefault(event, []) if isinstance(hooks, dict) else None
    if not isinstance(groups, list):
        raise UsageError(f"{path}: the hooks of {event} are not a list", "correct the file")
    return groups


def _plan_git(top: Path, program: str, environment: Mapping[str, str]) -> Iterator[Step]:
    path = git.find_common_directory(top, environment).resolve() / "hooks" / "pre-push"
    line = f'{program} {_PRE_PUSH} "$@" || exit 1'
    if own := _find_hooks_path(top, environment):
        yield Step(path, f"not installed: core.hooksPath is {own}; add there: {line}")
    elif not os.path.lexists(path):
        text = f"#!/bin/sh\n# Written by `isosmoke init --hooks`.\n{line}\n"
        yield Step(path, "git hook created", text.encode(), executable=True)
    elif _PRE_PUSH.encode() in _read_hook(path):
        yield Step(path, "git hook unchanged")
    else:
        yield Step(path, f"not touched, as it is another hook; add to it: {line}")


def _read_hook(path: Path) -> bytes:
    try:
        return files.read(path)
    except OSError:
        return b""


def _find_hooks_path(top: Path, environment: Mapping[str, str]) -> str:
    """Return `core.hooksPath` of the repository or of the user; empty if it is not set."""
    for source in ("--local", "--global", "--system"):
        try:
            value = git.run(
                top, "config", source, "--get", "core.hooksPath", environment=environment
            )
        except GitError:
            continue
        return os.fsdecode(value).strip()
    return ""
