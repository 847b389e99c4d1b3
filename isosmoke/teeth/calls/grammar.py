"""The grammar of a command line: which words of a call name its subcommand.

`isosmoke/keeper/standin.c` has the same rules, and applies them in a sandbox.
"""

import re
from collections.abc import Iterator, Sequence

from isosmoke.dataclass import dataclass

_OPTION = r"--?\w[\w-]*"
_TYPE = "string|strings|int|uint|float|duration|value"  # of Go's `flag`, at the end of a line
_VALUE = rf"(?:<[^<>]+>|[A-Z][A-Z0-9_.:|-]*(?!\w)|[a-z][\w-]*(?=,|\s\s+\S)|(?:{_TYPE})$)"
_VALUED = re.compile(rf"^\s+((?:{_OPTION}(?:[ =]{_VALUE})?,\s*)*{_OPTION})[ =]{_VALUE}")
_PLAIN = re.compile(rf"^\s+((?:{_OPTION},\s*)*{_OPTION})(?:\s{{2,}}|$)")
_ENTRY = re.compile(r"^\s{1,8}(?:([a-z][\w-]*)(?:\s{2,}|,|$)|\{([\w,-]+)\})")

MAX_GROUPS = 1000
MAX_SETTINGS = 250
"""The maximum numbers that the stand-in accepts: of groups, and of options or patterns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """The rules for naming calls.

    `valued` are the options before a subcommand that take the next word as their value. `groups`
    are the words that take a second word, such as `service` in `service stop`. `between` and
    `between_valued` are the options that may come between the two, without a value and with one,
    each after its group: `service --json`. `patterns` have precedence over all: a literal word
    matches itself, `_` and `*` match any word, and the name consists of the literal words and of
    those that `*` matches, without options.
    """

    valued: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    between: tuple[str, ...] = ()
    between_valued: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()


def name_call(words: Sequence[str], grammar: Grammar) -> str:
    """Return the subcommand of a call with these arguments; empty if no word names one."""
    for pattern in grammar.patterns:
        matched = _match(pattern.split(" "), words)
        if matched is not None:
            return matched
    at = find_first(words, grammar)
    name = [*words[at : at + 1]]
    if name and name[0] in grammar.groups:
        name += filter(None, [find_second(words, at, grammar)])
    return " ".join(name)


def find_first(words: Sequence[str], grammar: Grammar) -> int:
    """Return the number of the first word that is no option, from 0; the end without one."""
    at = 0
    while at < len(words) and words[at].startswith("-") and words[at] != "-":
        at += 2 if words[at] in grammar.valued and at + 1 < len(words) else 1
    return at


def find_second(words: Sequence[str], first: int, grammar: Grammar) -> str:
    """Return the next word that is no option after the word with the number `first`.

    It is empty if there is none, or after an option that may take it as its value.
    """
    at = first + 1
    while at < len(words) and words[at].startswith("-"):
        option = f"{words[first]} {words[at]}"
        if words[at] == "--":
            return _find_operand(words, at + 1)
        if option in grammar.between_valued:
            at += 2
        elif option in grammar.between or "=" in words[at]:
            at += 1
        else:
            return ""
    return _find_operand(words, at)


def _find_operand(words: Sequence[str], at: int) -> str:
    word = words[at] if at < len(words) else ""
    return "" if word.startswith("-") else word


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
    """Return the options that a help text shows with a value.

    A value is `<any text>`, a word in capitals, or a word right after its option that the
    description follows at a distance, as in `--dir string  The directory`.
    """
    found = (match for line in help_text.splitlines() if (match := _VALUED.match(line)))
    names = (name for match in found for name in re.findall(rf"(?:^|,\s*)({_OPTION})", match[1]))
    return tuple(dict.fromkeys(names))


def find_plain_options(help_text: str) -> tuple[str, ...]:
    """Return the options that a help text shows without a value, and not with one as well."""
    found = (match for line in help_text.splitlines() if (match := _PLAIN.match(line)))
    names = (name for match in found for name in re.findall(_OPTION, match[1]))
    valued = find_valued_options(help_text)
    return tuple(dict.fromkeys(name for name in names if name not in valued))


def lists_word(help_text: str, word: str) -> bool:
    """Return whether a help text has an entry for a word, as it has for a subcommand."""
    return word in _list_entries(help_text)


def _list_entries(help_text: str) -> Iterator[str]:
    """Yield the first word of each indented line that is an entry of a list, or `{all,words}`."""
    for line in help_text.splitlines():
        if match := _ENTRY.match(line):
            yield from [match[1]] if match[1] else match[2].split(",")
