"""Setup of a repository for isosmoke, in steps that are skipped if they are already done."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from isosmoke.authoring import agent_rules, new_scenario
from isosmoke.dataclass import dataclass
from isosmoke.errors import UsageError
from isosmoke.host import files, git
from isosmoke.host.binary import COMMAND_NAME
from isosmoke.manifest import loader
from isosmoke.manifest.discovery import WG_MANIFEST
from isosmoke.manifest.models import Scenario

_HEADER = """\
# Smoke scenarios for the live program, one entry for each regression.
# Grow-only: add entries with `isosmoke new`, never remove or weaken one, and keep former names in
# `aliases`. `isosmoke check` refuses losses. If a scenario has become wrong, fix it so that it
# still protects the same behaviour. wg reads this file too, so it must be TOML 1.0.
"""

_MAX_PROJECT_LENGTH = 100
"""The maximum length of a project's name in the name of its first scenario."""

_FIRST_SCRIPT = """\
#!/usr/bin/env bash
# Protects: a task must not count as done if the program does not even start.
# Exit codes: 0 if it holds, 77 if it cannot be tested here (reason on stderr), else it is broken.
set -euo pipefail

version=$(wg --version)
[[ -n $version ]] || { echo "wg --version prints nothing" >&2; exit 1; }
"""

_AGENT_FILES = ("CLAUDE.md", "AGENTS.md")

_SKILLS = {".agents": (), ".claude": (".claude", "CLAUDE.md")}
"""The directories with skills, and the names of which one shows that an agent reads them.

Most agents read `.agents/skills`, Claude Code reads `.claude/skills`.
"""


@dataclass(frozen=True, slots=True)
class Step:
    """A step for one file, described by `description`; nothing is written if `content` is None."""

    path: Path
    description: str
    content: bytes | None = None
    executable: bool = False


def plan(top: Path) -> tuple[Step, ...]:
    """Return the steps that set up the repository `top`, without writing anything.

    Raises:
        IsosmokeError: A file cannot be extended, or a link leads out of the project.
    """
    with new_scenario.file_errors():
        return tuple(_plan_steps(top))


def _plan_steps(top: Path) -> Iterator[Step]:
    path = _find_manifest(top)
    first = _draft_first_scenario(top)
    files.resolve_in_project(path, top)
    files.resolve_in_project(path.parent / first.script, top)
    yield from _plan_manifest(path, first)
    yield from map(_plan_agent_file, _find_agent_files(top))
    yield from (_plan_skill(path, top) for path in _list_skills(top))


def _resolve_agent_file(file: Path, top: Path) -> Path:
    """Return the path to write; a link may only lead to another file for agents."""
    target = files.resolve_in_project(file, top)
    if target.name not in _AGENT_FILES:
        raise UsageError(
            f"{file} is a symbolic link to {target}, which is not a file for agents",
            hint=f"replace it with a file, or link it to one of {', '.join(_AGENT_FILES)}",
        )
    return target


def carry_out(steps: Iterable[Step]) -> None:
    """Write the content of each step."""
    with new_scenario.file_errors():
        for step in steps:
            if step.content is None:
                continue
            step.path.parent.mkdir(parents=True, exist_ok=True)
            new_scenario.replace(step.path, step.content)
            if step.executable:
                step.path.chmod(0o755)


def _find_manifest(top: Path) -> Path:
    """Return an existing manifest, or the path of the new one.

    A second manifest would hide the existing one from wg.
    """
    existing = top / "manifest.toml"
    is_manifest = existing.is_file() and b"[[scenario]]" in existing.read_bytes()
    return existing if is_manifest and not (top / WG_MANIFEST).exists() else top / WG_MANIFEST


def _draft_first_scenario(top: Path) -> Scenario:
    """Return the first scenario, named after the project: the directory of its main work tree."""
    project, *_ = git.find_tops(top, os.environ)
    words = re.sub(r"[^a-z0-9]+", "_", project.name.lower()).strip("_")[:_MAX_PROJECT_LENGTH]
    name = f"{words or 'binary'}_starts"
    return Scenario.validate(
        {
            "name": name,
            "script": f"scenarios/{name}.sh",
            "assertion": "The live binary starts and prints its version.",
            "timeout_seconds": 30,
            "requires": {"commands": [COMMAND_NAME]},
        }
    )


def _plan_manifest(path: Path, first: Scenario) -> Iterator[Step]:
    if path.exists() and new_scenario.parse_scenarios(files.read(path), path):
        number = len(loader.load(path).scenarios)
        yield Step(path, f"adopted unchanged, {number} scenario{'s' * (number > 1)}")
        return
    # The script comes first: a manifest that names a missing script would stop the next `init`.
    script = path.parent / first.script
    if script.exists():
        yield Step(script, "unchanged")
    else:
        yield Step(script, "created", _FIRST_SCRIPT.encode(), executable=True)
    verb = "extended by" if path.exists() else "created with"
    old = files.read(path) if path.exists() else _HEADER.encode()
    yield Step(path, f"{verb} scenario {first.name!r}", new_scenario.append_entry(old, first, path))


def _find_agent_files(top: Path) -> list[Path]:
    """Return each file once, even if one is a link to the other; by default, a new file."""
    paths = [top / name for name in _AGENT_FILES if os.path.lexists(top / name)]
    by_target = {_resolve_agent_file(path, top): path for path in paths}
    return list(by_target.values()) or [top / _AGENT_FILES[-1]]


def _plan_agent_file(path: Path) -> Step:
    try:
        old = files.read(path).decode() if path.exists() else ""
        new = agent_rules.insert_rules(old)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text", "save it as UTF-8") from error
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", error.hint) from error
    if new == old:
        return Step(path, "up to date")
    verb = "updated" if agent_rules.BEGIN in old else "added"
    return Step(path, f"rules for agents {verb}", new.encode())


def _list_skills(top: Path) -> Iterator[Path]:
    """Yield the path of the skill for each kind of agent that the project uses."""
    for directory, signs in _SKILLS.items():
        if not signs or any(os.path.lexists(top / sign) for sign in signs):
            yield top / directory / "skills" / agent_rules.SKILL_NAME / "SKILL.md"


def _plan_skill(path: Path, top: Path) -> Step:
    """Return the step for a skill; a file without the markers is the user's own."""
    files.resolve_in_project(path, top)
    if not path.exists():
        return Step(path, "skill added", agent_rules.build_skill().encode())
    try:
        old = files.read(path).decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text", "save it as UTF-8") from error
    if agent_rules.BEGIN not in old:
        return Step(path, "unchanged: it is not written by isosmoke")
    try:
        new = agent_rules.insert_rules(old)
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", error.hint) from error
    return Step(path, "up to date") if new == old else Step(path, "skill updated", new.encode())
