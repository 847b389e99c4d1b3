"""What of a PATH may change a verdict, in words: directories of the workspace, shadowed programs.

Pure: `isosmoke.host.system_programs.entries` looks at the disk.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from isosmoke.text import shortened

_NAMES_SHOWN = 4
_ENTRIES_SHOWN = 2
_WIDEST = 160

_FIRST = {
    name: place
    for place, name in enumerate(
        ("bash", "sh", "env", "timeout", "git", "grep", "sed", "awk", "tmux")
    )
}
"""The programs whose stand-ins decide most, named before the others."""

_LANGUAGE = re.compile(
    r"(?:python|pydoc|idle|pip|2to3|node|nodejs|npm|npx|corepack|yarn|pnpm|deno|bun|ruby|gem|irb|erb"
    r"|rake|rdoc|ri|bundle|bundler|perl|cpan|prove|java|javac|jar|jshell|cargo|rustc|rustdoc|rustfmt"
    r"|rustup|go|gofmt|php|composer|luac?|ghc|julia|Rscript|R|gcc|g\+\+|cc|c\+\+|clang|clang\+\+|ld)"
    r"[-\d.]*(?:-config)?"
)
"""Interpreters and compilers: pyenv, nvm, rustup and virtual environments put theirs first."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One word of a PATH.

    `programs` are those in it that share the name of a system program and are another one; of a
    directory of the system itself, all of its programs.
    """

    text: str
    is_system: bool
    is_in_workspace: bool
    programs: frozenset[str]

    @property
    def shown(self) -> str:
        """The entry as one readable word."""
        return shortened(self.text, _WIDEST) if self.text else "'' (the current directory)"


def warnings(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Return one line for each kind of entry that may change a verdict; none for a plain PATH."""
    shadowing = tuple(_shadowing(entries))
    tools = [(one, _tools(names)) for one, names in shadowing]
    languages = [(one, _languages(names)) for one, names in shadowing if not one.is_in_workspace]
    return (
        *_inside([one.shown for one in entries if one.is_in_workspace]),
        *_of_tools([f"{one.shown}: {_listed(names)}" for one, names in tools if names]),
        *_of_languages([f"{_listed(names)} of {one.shown}" for one, names in languages if names]),
    )


def _inside(shown: Sequence[str]) -> Iterator[str]:
    if shown:
        subject, verb = ("entry", "lies") if len(shown) == 1 else ("entries", "lie")
        named = _first(shown, ", ")
        yield f"PATH {subject} {named} {verb} inside the workspace: its programs are no system's"


def _of_tools(told: Sequence[str]) -> Iterator[str]:
    if len(told) == 1:
        entry, _, names = told[0].rpartition(": ")
        yield f"PATH entry {entry} shadows system programs: {names}"
    elif told:
        yield f"PATH entries shadow system programs: {_first(told, '; ')}"


def _of_languages(told: Sequence[str]) -> Iterator[str]:
    if told:
        yield f"PATH puts before the system's own: {_first(told, '; ')}"


def _first(texts: Sequence[str], between: str) -> str:
    more = len(texts) - _ENTRIES_SHOWN
    rest = f" (+{more} more)" if more > 0 else ""
    return f"{between.join(texts[:_ENTRIES_SHOWN])}{rest}"


def _shadowing(entries: Sequence[Entry]) -> Iterator[tuple[Entry, frozenset[str]]]:
    """Each entry with the system programs that are found in it before they are in the system."""
    provided: frozenset[str] = frozenset()
    for one in entries:
        if one.is_system:
            provided |= one.programs
        elif found := one.programs - provided:
            yield one, found


def _tools(names: Collection[str]) -> list[str]:
    """The names that are not those of interpreters and compilers, the weightiest first."""
    tools = [one for one in names if not _LANGUAGE.fullmatch(one)]
    return sorted(tools, key=lambda one: (one not in _FIRST, _FIRST.get(one, 0), one))


def _languages(names: Collection[str]) -> list[str]:
    return sorted(one for one in names if _LANGUAGE.fullmatch(one))


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    rest = f" (+{more} more)" if more > 0 else ""
    return f"{', '.join(shortened(one, 40) for one in names[:_NAMES_SHOWN])}{rest}"
