"""The repositories whose scenarios a hook may run, in the user's own state.

A hook runs by itself, possibly in a repository that the user has only looked at. It therefore runs
nothing from a repository that the user has not trusted once. A repository is known by the path of
its git directory, which its linked work trees share, and by the first commit of its history.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from isosmoke.dataclass import dataclass
from isosmoke.errors import IsosmokeError, UsageError
from isosmoke.host import files, git, state
from isosmoke.host.workspace_directories import git_top

_DIRECTORY = "trusted"


@dataclass(frozen=True, slots=True)
class TrustedRepository:
    """A repository by the path of its git directory and its root commit."""

    path: str
    root: str


_RECORD = TypeAdapter(TrustedRepository)


def identify(directory: Path, environment: Mapping[str, str]) -> TrustedRepository:
    """Return the repository around a directory.

    The root commit is that of the first parents, so that a merge of another history changes
    nothing. In a shallow clone, it is the oldest commit that was fetched.

    Raises:
        UsageError: if there is no repository, or no commit in it.
        GitError: if git refuses to read the repository.
    """
    top = git_top(directory)
    if top is None:
        raise UsageError(f"{directory} is not in a git repository", "create one with `git init`")
    if not git.read_head(top, environment):
        raise UsageError(
            f"{top} has no commit by which it could be known", "commit something first"
        )
    common = git.find_common_directory(top, environment).resolve()
    walk = ("rev-list", "--first-parent", "--max-parents=0", "HEAD")
    roots = git.run(top, *walk, environment=environment).split()
    return TrustedRepository(str(common), roots[-1].decode())


def is_trusted(repository: TrustedRepository) -> bool:
    """Return whether the user has trusted this repository; False if the record is damaged."""
    try:
        record = files.read(_file(repository.path), follow=False)
        return _RECORD.validate_json(record) == repository
    except (OSError, ValidationError):
        return False


def is_trusted_directory(directory: Path, environment: Mapping[str, str]) -> bool:
    """Return whether the user has trusted the repository around a directory, if it has commits."""
    try:
        return is_trusted(identify(directory, environment))
    except UsageError:
        return False


def require_trust(directory: Path, environment: Mapping[str, str]) -> None:
    """Check that the user has trusted the repository around a directory.

    Raises:
        UsageError: if the user has not, or if another repository is at its path now.
    """
    repository = identify(directory, environment)
    if not is_trusted(repository):
        raise UsageError(
            f"the repository {repository.path} (root commit {repository.root[:12]}) is not "
            "trusted, so nothing of it was run",
            hint="if you trust its scenarios, run once in it: isosmoke trust",
        )


def add(repository: TrustedRepository) -> None:
    """Remember that the user trusts a repository, in place of any other at its path."""
    file = _file(repository.path)
    try:
        files.write(file, json.dumps(asdict(repository)) + "\n", mode=0o600)
    except OSError as error:
        raise IsosmokeError(
            f"cannot write {file}: {error.strerror}",
            hint="set ISOSMOKE_STATE to a writable directory",
        ) from error


def remove(repository: TrustedRepository) -> bool:
    """Forget a repository; return whether it was trusted."""
    was_trusted = is_trusted(repository)
    _file(repository.path).unlink(missing_ok=True)
    return was_trusted


def list_all() -> tuple[TrustedRepository, ...]:
    """Return all trusted repositories, by path; damaged records are skipped."""
    found = []
    for file in state.ensure_directory(_DIRECTORY).glob("*.json"):
        try:
            found.append(_RECORD.validate_json(files.read(file, follow=False)))
        except (OSError, ValidationError):
            continue
    return tuple(sorted(found, key=lambda repository: repository.path))


def _file(path: str) -> Path:
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:32]
    return state.ensure_directory(_DIRECTORY) / f"{name}.json"
