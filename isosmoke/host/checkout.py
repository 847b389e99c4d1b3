"""What git says of a folder: its commit, whether that is all there is, and the main work tree."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from isosmoke.host import system_programs
from isosmoke.host.workspace import git_top


@dataclass(frozen=True, slots=True)
class Checkout:
    """The commit of a work tree, empty before the first one; `dirty` where files differ."""

    commit: str
    dirty: bool


def at(folder: Path, environment: Mapping[str, str]) -> Checkout | None:
    """How the work tree stands that `folder` lies in; None where there is none, or no git."""
    status = _git(folder, environment, "status", "--porcelain")
    if status is None:
        return None
    return Checkout(_git(folder, environment, "rev-parse", "HEAD") or "", bool(status))


def tops(folder: Path, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The main work tree, then the one that `folder` lies in; `folder` itself outside of any.

    Agents work in linked work trees, which are removed once their task is done.
    """
    own = git_top(folder) or folder
    common = _git(folder, environment, "rev-parse", "--path-format=absolute", "--git-common-dir")
    main = Path(common).parent if common and Path(common).name == ".git" else own
    return tuple(dict.fromkeys((main.resolve(), own.resolve())))


def _git(folder: Path, environment: Mapping[str, str], *words: str) -> str | None:
    # No index is refreshed and no monitor started: asking must leave nothing behind. A hook's
    # GIT_DIR would be about its own repository, wherever `folder` is.
    quiet = ("--no-optional-locks", "-c", "core.fsmonitor=false")
    plain = {name: value for name, value in environment.items() if not name.startswith("GIT_")}
    path = environment.get("PATH", os.defpath)
    git = system_programs.find_for(path, "git", apart=[git_top(folder) or folder])
    if git is None:
        return None
    try:
        done = subprocess.run(
            [str(git), *quiet, *words], cwd=folder, env=plain, capture_output=True, check=False
        )
    except OSError:
        return None
    return None if done.returncode else done.stdout.decode(errors="surrogateescape").strip()
