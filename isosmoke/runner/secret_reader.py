"""The secrets of a scenario: the variables and files that it receives, read up to a limit."""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType

from isosmoke.dataclass import dataclass
from isosmoke.errors import ManifestError
from isosmoke.host.caller_process import Caller
from isosmoke.manifest.models import Scenario
from isosmoke.redaction import MAX_SECRET_BYTES, MAX_TOTAL_BYTES, MAX_TOTAL_PARTS, Secret
from isosmoke.runner import mounts


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLimits:
    """The limits of the secrets of a scenario: entries of a directory, parts and bytes of all."""

    entries: int = 10_000
    parts: int = MAX_TOTAL_PARTS
    size: int = MAX_TOTAL_BYTES


DEFAULT_LIMITS = ReadLimits()


@dataclass(frozen=True, slots=True)
class _File:
    """A file that the path `name` of the manifest passes to a scenario."""

    name: str
    path: Path
    size: int


@dataclass(slots=True)
class _Budget:
    """The size of the secrets that can still be redacted."""

    parts: int
    size: int

    @property
    def is_exhausted(self) -> bool:
        return self.parts < 0 or self.size < 0

    def spend(self, secret: Secret) -> Secret:
        """Return the secret, without its parts if it exceeds the budget."""
        self.parts -= len(secret.parts)
        self.size -= secret.size
        return replace(secret, parts=()) if self.is_exhausted else secret


def read_secrets(
    scenario: Scenario,
    caller: Caller,
    limits: ReadLimits = DEFAULT_LIMITS,
    *,
    sources: Mapping[Path, Path] = MappingProxyType({}),
) -> Iterator[Secret]:
    """Yield the secrets that a scenario receives: variables, then files, the smallest first.

    Large files are the least likely to be credentials. A secret that exceeds the limits has no
    parts. `sources` are the paths on this machine with the content of the caller's paths.

    Raises:
        ManifestError: if a directory of secrets has far too many files.
    """
    budget = _Budget(limits.parts, limits.size)
    for name in dict.fromkeys(scenario.pass_env):
        if caller.environment.get(name):
            yield budget.spend(Secret.of_variable(name, caller.environment[name]))
    files = _list_files(scenario, caller, limits.entries, sources)
    for file in sorted(files, key=attrgetter("size")):
        with suppress(OSError):  # the script cannot read it either
            yield from _read_file(file, budget)


def _read_file(file: _File, budget: _Budget) -> Iterator[Secret]:
    """Yield the secret in a file that is not empty; do not read what cannot be redacted."""
    if budget.is_exhausted or file.size > MAX_SECRET_BYTES:
        yield Secret(file.name, ())
    elif content := _read_beginning(file.path).strip():
        yield budget.spend(Secret.of_file(file.name, content))


def _list_files(
    scenario: Scenario, caller: Caller, max_entries: int, sources: Mapping[Path, Path]
) -> Iterator[_File]:
    def find(name: str) -> Path:
        return mounts.locate(mounts.expand_home(Path(name), caller.home), sources)

    plain = {str(find(name)) for name in scenario.plain_files}
    for name in dict.fromkeys(scenario.pass_files):
        path = find(name)
        for number, file in enumerate(_walk(path, plain)):
            if number > max_entries:
                raise ManifestError(
                    f"scenario '{scenario.name}': key 'pass_files': {name} has more than "
                    f"{max_entries:,} files, too many to redact",
                    hint="name only its secret files, and in plain_files what is not secret",
                )
            with suppress(OSError):
                if file.is_file():
                    yield _File(name, file, file.stat().st_size)


def _walk(path: Path, plain: Collection[str]) -> Iterator[Path]:
    """Yield a path and everything in it except `plain`; do not follow links to directories."""
    pending = [str(path)]
    while pending:
        current = pending.pop()
        yield Path(current)
        with suppress(OSError), os.scandir(current) as entries:
            for entry in entries:
                if entry.path in plain:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    yield Path(entry.path)


def _read_beginning(file: Path) -> bytes:
    """Return a file's content; of a large file, just enough to be recognized as too large."""
    with file.open("rb") as content:
        return content.read(MAX_SECRET_BYTES + 1)
