"""A repository made ready for isosmoke, step by step; a step that was taken is not taken again."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from isosmoke.authoring import agent_rules, new_scenario
from isosmoke.errors import UsageError
from isosmoke.host import files
from isosmoke.manifest import loader
from isosmoke.manifest.discovery import WG_MANIFEST
from isosmoke.manifest.models import Scenario

_HEADER = """\
# Smoke scenarios: what must hold of the live program, one entry for each regression.
# Grow-only. Add entries with `isosmoke new`; never remove or weaken one, and keep an old name in
# `aliases`: `isosmoke check` refuses what was lost. A scenario that has become wrong is mended, and
# what it protects stays protected. wg reads this file too: it must be TOML 1.0.
"""

_FIRST = Scenario(
    name="binary_starts",
    script="scenarios/binary_starts.sh",
    assertion="The live binary starts and says its version.",
    timeout_seconds=30,
)

_FIRST_SCRIPT = """\
#!/usr/bin/env bash
# Protects: a build whose program does not even start must not count as done.
# Exit 0: it holds. Exit 77: it cannot be tried here, with the reason on stderr. Else: it is broken.
set -euo pipefail

version=$(wg --version)
[[ -n $version ]] || { echo "wg --version says nothing" >&2; exit 1; }
"""

_AGENT_FILES = ("CLAUDE.md", "AGENTS.md")


@dataclass(frozen=True, slots=True)
class Step:
    """What is done about one file, in words; no content: nothing is written."""

    path: Path
    words: str
    content: bytes | None = None
    executable: bool = False


def plan(top: Path) -> tuple[Step, ...]:
    """What is still to be done in the repository `top`; nothing is written yet.

    Raises:
        IsosmokeError: if a file is such that nobody can say how to extend it, or leads through a
            link to what is not the project's.
    """
    with new_scenario.told():
        return tuple(_steps(top))


def _steps(top: Path) -> Iterator[Step]:
    path = _manifest(top)
    files.resolve_in_project(path, top)
    files.resolve_in_project(path.parent / _FIRST.script, top)
    yield from _manifest_steps(path)
    yield from map(_agent_step, _agent_files(top))


def _agent_target(file: Path, top: Path) -> Path:
    """Where a file for agents is written: it may be a link to another, and to nothing else."""
    target = files.resolve_in_project(file, top)
    if target.name not in _AGENT_FILES:
        raise UsageError(
            f"{file} is a symbolic link to {target}, which is no file for agents",
            hint=f"put a file in its place, or let it lead to one of {', '.join(_AGENT_FILES)}",
        )
    return target


def carry_out(steps: Iterable[Step]) -> None:
    """Write what the steps say."""
    with new_scenario.told():
        for step in steps:
            if step.content is None:
                continue
            step.path.parent.mkdir(parents=True, exist_ok=True)
            new_scenario.replace(step.path, step.content)
            if step.executable:
                step.path.chmod(0o755)


def _manifest(top: Path) -> Path:
    """The manifest that is there; one beside it would hide it from wg."""
    own = top / "manifest.toml"
    is_ours = own.is_file() and b"[[scenario]]" in own.read_bytes()
    return own if is_ours and not (top / WG_MANIFEST).exists() else top / WG_MANIFEST


def _manifest_steps(path: Path) -> Iterator[Step]:
    if path.exists() and new_scenario.scenarios(path.read_bytes(), path):
        number = len(loader.load(path).scenarios)
        yield Step(path, f"adopted as it is, {number} scenario{'s' * (number > 1)}")
        return
    # The script goes first: a manifest that names a missing one would stop the next `init`.
    script = path.parent / _FIRST.script
    if script.exists():
        yield Step(script, "kept as it is")
    else:
        yield Step(script, "made", _FIRST_SCRIPT.encode(), executable=True)
    verb = "extended by" if path.exists() else "made, with"
    old = path.read_bytes() if path.exists() else _HEADER.encode()
    yield Step(path, f"{verb} scenario {_FIRST.name!r}", new_scenario.grown(old, _FIRST, path))


def _agent_files(top: Path) -> list[Path]:
    """Each file once, though one may be a link to the other."""
    paths = [top / name for name in _AGENT_FILES if os.path.lexists(top / name)]
    there = {_agent_target(path, top): path for path in paths}
    return list(there.values()) or [top / _AGENT_FILES[-1]]


def _agent_step(path: Path) -> Step:
    try:
        old = path.read_bytes().decode() if path.exists() else ""
        new = agent_rules.placed(old)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text", "save it as UTF-8") from error
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", error.hint) from error
    if new == old:
        return Step(path, "up to date")
    verb = "updated" if agent_rules.BEGIN in old else "added"
    return Step(path, f"the agents' rule {verb}", new.encode())
