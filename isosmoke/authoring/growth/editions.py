"""Editions of a manifest: its scenarios in a snapshot, with all the code that each of them runs."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import field
from functools import cached_property
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Literal

from isosmoke.authoring import mentioned_files
from isosmoke.authoring.mentioned_files import SUFFIXES
from isosmoke.dataclass import dataclass
from isosmoke.errors import ManifestError
from isosmoke.host.repository import snapshots
from isosmoke.host.repository.snapshots import Snapshot
from isosmoke.manifest import parser
from isosmoke.manifest.mirrors import mirror_source
from isosmoke.manifest.models import Gate, Growth, Scenario

State = Literal["manifest", "empty", "missing", "linked", "outside", "mirror"]
"""The state of a place; a file without scenarios, or a directory, is "empty"."""


@dataclass(frozen=True, slots=True)
class Script:
    """A script by its path, its text, and the texts of the files that it runs as its own code."""

    path: str
    text: str
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Edition:
    """A manifest at one time, with its scripts by scenario name."""

    scenarios: tuple[Scenario, ...] = ()
    gate: Gate = field(default_factory=Gate)
    check: Growth = field(default_factory=Growth)
    scripts: Mapping[str, Script] = field(default_factory=dict)
    state: State = "missing"

    @property
    def exists(self) -> bool:
        """True if wg would read a file of this repository here, even one without scenarios."""
        return self.state not in ("missing", "outside")

    def has_same_content(self, other: "Edition") -> bool:
        """Return whether two editions are equal, wherever they were read from."""
        first, second = (
            ([item.to_json() for item in edition.scenarios], edition.gate, edition.check)
            for edition in (self, other)
        )
        return (first, self.scripts, self.state) == (second, other.scripts, other.state)

    def find(self, name: str) -> Scenario | None:
        """Return the scenario with this name, or formerly with it; None if there is none."""
        former = [scenario for scenario in self.scenarios if name in scenario.aliases]
        named = [scenario for scenario in self.scenarios if name == scenario.name]
        return next(iter(named + former), None)


def load_edition(snapshot: Snapshot, place: str, origin: str, *, is_past: bool) -> Edition:
    """Load the manifest at a place; `origin` is its path in messages.

    A manifest of the past may set variables that are refused now.

    Raises:
        ManifestError: The file there is not a valid manifest.
    """
    target = snapshots.follow(snapshot, place)
    if target.kind in ("repository", "submodule", "outside"):
        return Edition(state="outside")
    content = snapshot.read([target.path]).get(target.path) if target.kind == "file" else None
    if content is None:
        is_occupied = snapshot.is_occupied(target.path)
        return Edition(
            state="linked" if target.is_linked else "empty" if is_occupied else "missing"
        )
    text = _decode(content, origin)
    document = _parse_document(text, origin)
    if mirror_source.parse_source(document) is not None:
        return Edition(state="mirror")
    if not document.get("scenario"):
        return Edition(state="empty")
    manifest = (parser.parse_past if is_past else parser.parse)(text, Path(origin))
    directory = dirname(target.path) or "."
    return Edition(
        manifest.scenarios,
        manifest.gate,
        manifest.check,
        dict(_load_scripts(snapshot, manifest.scenarios, directory, exclude=target.path)),
        "linked" if target.is_linked else "manifest",
    )


def _decode(content: bytes, origin: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{origin}: is not UTF-8 text", "save it as UTF-8") from error


def _parse_document(text: str, origin: str) -> Mapping[str, object]:
    return parser.parse_source(text, Path(origin)).document


def _load_scripts(
    snapshot: Snapshot, scenarios: Iterable[Scenario], directory: str, *, exclude: str
) -> Iterator[tuple[str, Script]]:
    paths = {item.name: join(directory, item.script) for item in scenarios}
    texts = _read_texts(snapshot, paths.values())
    code = _Code(snapshot, directory, {exclude, *(end for end, _ in texts.values())})
    for name, path in paths.items():
        if path in texts:
            end, text = texts[path]
            yield name, Script(end, text, code.find_inputs(end, text))


@dataclass(frozen=True)
class _Code:
    """The files that the scripts of one manifest run, except `excluded`: these are judged anyway.

    `directory` is the manifest's.
    """

    snapshot: Snapshot
    directory: str
    excluded: Collection[str]

    @cached_property
    def _listed(self) -> dict[str, frozenset[str]]:
        return {}

    def _list_known(self, directory: str) -> frozenset[str]:
        """Return the files in a directory; none at the top, which has those of the program."""
        if directory in ("", "."):
            return frozenset()
        if directory not in self._listed:
            self._listed[directory] = frozenset(self.snapshot.list_below(directory))
        return self._listed[directory]

    def find_inputs(self, script: str, text: str) -> Mapping[str, str]:
        """Return the texts of the files that a script runs or reads, directly or indirectly."""
        inputs: dict[str, str] = {}
        pending = {script: text}
        while pending:
            steps = [self._find_candidates(path, content) for path, content in pending.items()]
            candidates = set().union(*steps) - inputs.keys() - set(self.excluded)
            found = dict(_read_texts(self.snapshot, candidates).values())
            pending = {
                path: content
                for path, content in found.items()
                if path not in inputs and path not in self.excluded
            }
            inputs.update(pending)
        return inputs

    def _find_candidates(self, script: str, text: str) -> set[str]:
        """Return the paths of this snapshot that a script may mention.

        A mentioned path starts at the directory of the script or at that of the manifest.
        """
        bases = (dirname(script), self.directory)
        mentions = mentioned_files.find_mentions(text)
        known = frozenset().union(*map(self._list_known, bases))
        ends = mentions.by_end.keys() & {path.rpartition("/")[2] for path in known}
        likely = mentions.scripts.union(*(mentions.by_end[end] for end in ends))
        named = {path for path in _join(bases, likely) if path in known or _is_shell(path)}
        below = {
            path
            for directory in _join(bases, mentions.directories) - {".", self.directory}
            for path in self.snapshot.list_below(directory)
            if _is_shell(path)
        }
        return _join(bases, mentions.sourced) | named | below


def _join(bases: Iterable[str], names: Iterable[str]) -> set[str]:
    unique = set(names)
    return {normpath(join(base, name)) for base in bases for name in unique}


def _is_shell(path: str) -> bool:
    return path.endswith(SUFFIXES)


def _read_texts(snapshot: Snapshot, paths: Iterable[str]) -> Mapping[str, tuple[str, str]]:
    """Map each path of a file to its end and its text; a file in a submodule has its commit."""
    targets = {path: snapshots.follow(snapshot, path) for path in paths}
    readable = {
        path: target.path
        for path, target in targets.items()
        if target.kind in ("file", "submodule")
    }
    contents = snapshot.read(set(readable.values()))
    return {
        path: (end, contents[end].decode(errors="replace"))
        for path, end in readable.items()
        if end in contents
    }
