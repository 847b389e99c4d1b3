"""Warnings about PATH entries that may change a verdict (pure).

They are directories inside the workspace and programs that shadow the system's.
`isosmoke.host.system_programs.entries` reads the disk.
"""

import re
from collections.abc import Collection, Iterator, Sequence

from isosmoke.dataclass import dataclass
from isosmoke.text import shorten

_MAX_NAMES = 4
_MAX_ENTRIES = 2
_MAX_WIDTH = 160

_RANKS = {
    name: rank
    for rank, name in enumerate(
        ("bash", "sh", "env", "timeout", "git", "grep", "sed", "awk", "tmux")
    )
}
"""The programs whose replacements affect a verdict most, named before the others."""

_LANGUAGE_PROGRAM = re.compile(
    r"(?:python|pydoc|idle|pip|2to3|node|nodejs|npm|npx|corepack|yarn|pnpm|deno|bun|ruby|gem|irb|erb"
    r"|rake|rdoc|ri|bundle|bundler|perl|cpan|prove|java|javac|jar|jshell|cargo|rustc|rustdoc|rustfmt"
    r"|rustup|go|gofmt|php|composer|luac?|ghc|julia|Rscript|R|gcc|g\+\+|cc|c\+\+|clang|clang\+\+|ld)"
    r"[-\d.]*(?:-config)?"
)
"""Interpreters and compilers: pyenv, nvm, rustup and virtual environments put theirs first."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a PATH.

    `programs` are the programs in it that have the name of a system program and differ from it.
    For a directory of the system itself, they are all of its programs.
    """

    text: str
    is_system: bool
    is_in_workspace: bool
    programs: frozenset[str]

    @property
    def shown(self) -> str:
        """The entry in a readable form."""
        return shorten(self.text, _MAX_WIDTH) if self.text else "'' (the current directory)"


def find_warnings(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Return one line for each kind of risky entry; an empty tuple for a plain PATH."""
    shadowing = tuple(_find_shadowing(entries))
    tools = [(entry, _select_tools(names)) for entry, names in shadowing]
    languages = [
        (entry, _select_language_programs(names))
        for entry, names in shadowing
        if not entry.is_in_workspace
    ]
    return (
        *_warn_of_workspace([entry.shown for entry in entries if entry.is_in_workspace]),
        *_warn_of_tools([f"{entry.shown}: {_format(names)}" for entry, names in tools if names]),
        *_warn_of_languages(
            [f"{_format(names)} from {entry.shown}" for entry, names in languages if names]
        ),
    )


def _warn_of_workspace(entries: Sequence[str]) -> Iterator[str]:
    if len(entries) == 1:
        yield f"PATH entry {entries[0]} lies inside the workspace and can replace system programs"
    elif entries:
        shown = _join_first(entries, ", ")
        yield f"PATH entries {shown} lie inside the workspace and can replace system programs"


def _warn_of_tools(entries: Sequence[str]) -> Iterator[str]:
    if len(entries) == 1:
        entry, _, names = entries[0].rpartition(": ")
        yield f"PATH entry {entry} shadows system programs: {names}"
    elif entries:
        yield f"PATH entries shadow system programs: {_join_first(entries, '; ')}"


def _warn_of_languages(entries: Sequence[str]) -> Iterator[str]:
    if entries:
        yield f"PATH puts language tools before the system's: {_join_first(entries, '; ')}"


def _join_first(texts: Sequence[str], separator: str) -> str:
    more = len(texts) - _MAX_ENTRIES
    rest = f" (+{more} more)" if more > 0 else ""
    return f"{separator.join(texts[:_MAX_ENTRIES])}{rest}"


def _find_shadowing(entries: Sequence[Entry]) -> Iterator[tuple[Entry, frozenset[str]]]:
    """Yield each entry with the system programs that it provides before the system does."""
    provided: frozenset[str] = frozenset()
    for entry in entries:
        if entry.is_system:
            provided |= entry.programs
        elif shadowed := entry.programs - provided:
            yield entry, shadowed


def _select_tools(names: Collection[str]) -> list[str]:
    """Return the names other than interpreters and compilers, the most important first."""
    tools = [name for name in names if not _LANGUAGE_PROGRAM.fullmatch(name)]
    return sorted(tools, key=lambda name: (name not in _RANKS, _RANKS.get(name, 0), name))


def _select_language_programs(names: Collection[str]) -> list[str]:
    return sorted(name for name in names if _LANGUAGE_PROGRAM.fullmatch(name))


def _format(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMES
    rest = f" (+{more} more)" if more > 0 else ""
    return f"{', '.join(shorten(name, 40) for name in names[:_MAX_NAMES])}{rest}"
