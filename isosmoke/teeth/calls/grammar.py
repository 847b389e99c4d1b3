"""The grammar of a command line: which words of a call name its subcommand.

`isosmoke/keeper/standin.c` has the same rules, and applies them in a sandbox.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_VALUED = re.compile(r"^\s+(?:(-\w)(?:,\s*|\s+<?\w+>?,\s*))?(--[\w-]+)?[ =]<?[A-Z]")
_ENTRY = re.compile(r"^\s{1,8}([a-z][\w-]*)(?:\s{2,}|,|$)")

MAX_GROUPS = 1000
MAX_SETTINGS = 250
"""The maximum numbers that the stand-in accepts: of groups, and of options or patterns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """The rules for naming calls.

    `valued` are the options before a subcommand that take the next word as their value. `groups`
    are the words that take a second word, such as `service` in `service stop`. `patterns` have
    precedence over both: a literal word matches itself, `_` and `*` match any word, and the name
    consists of the literal words and of those that `*` matches, without options.
    """

    valued: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()


def name_call(words: Sequence[str], grammar: Grammar) -> str:
    """Return the subcommand of a call with these arguments; empty if no word names one."""
    for pattern in grammar.patterns:
        matched = _match(pattern.split(" "), words)
        if matched is not None:
            return matched
    at = 0
    while at < len(words) and words[at].startswith("-") and words[at] != "-":
        at += 2 if words[at] in grammar.valued and at + 1 < len(words) else 1
    name, following = words[at : at + 1], words[at + 1 : at + 2]
    if name and name[0] in grammar.groups and following and not following[0].startswith("-"):
        name = [*name, *following]
    return " ".join(name)


def _match(pattern: Sequence[str], words: Sequence[str]) -> str | None:
    if len(words) < len(pattern):
        return None
    pairs = tuple(zip(pattern, words, strict=False))
    if any(expected not in ("_", "*", word) for expected, word in pairs):
        return None
    return " ".join(
        word for expected, word in pairs if expected != "_" and not word.startswith("-")
    )


def find_valued_options(help_text: str) -> tuple[str, ...]:
    """Return the options that a help text shows with a value, such as `--dir <DIR>`."""
    found = (match for line in help_text.splitlines() if (match := _VALUED.match(line)))
    return tuple(dict.fromkeys(name for match in found for name in match.groups() if name))


def lists_word(help_text: str, word: str) -> bool:
    """Return whether a help text has an entry for a word, as it has for a subcommand."""
    return word in _list_entries(help_text)


def _list_entries(help_text: str) -> Iterator[str]:
    """Yield the first word of each indented line that is an entry of a list."""
    for line in help_text.splitlines():
        if match := _ENTRY.match(line):
            yield match[1]
