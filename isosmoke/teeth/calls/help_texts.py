"""The grammar of a binary, from the help texts that it prints in a sandbox."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from secrets import token_hex

from isosmoke.manifest.models import Requires, Scenario
from isosmoke.results.run_results import ScenarioResult
from isosmoke.teeth.calls import grammar
from isosmoke.teeth.calls.call_log import Call
from isosmoke.teeth.calls.grammar import Grammar

_SECONDS = 60
_PRINT = 'mark=$1; shift; for word; do echo "$mark$word"; "$WG_BIN" $word --help </dev/null; done'

Run = Callable[[Scenario, tuple[str, ...]], ScenarioResult]
"""A function that runs a command in the sandbox of a scenario."""


def find_grammar(
    scenario: Scenario, calls: Iterable[Call], patterns: tuple[str, ...], run: Run
) -> Grammar:
    """Return the grammar for the words that the calls of scenarios have.

    The binary prints its help in the sandbox of `scenario`. A word takes a second one if its help
    has an entry for a second word that was used.
    """
    words = [[word.decode(errors="surrogateescape") for word in call.argv[1:]] for call in calls]
    blank = scenario.change(
        name=f"{scenario.name}.help",
        timeout_seconds=_SECONDS,
        settle_seconds=0.0,
        services=(),
        requires=Requires(),
        retries=0,
    )
    top = _print_help(blank, [""], run).get("", "")
    first = Grammar(valued=grammar.find_valued_options(top))
    starts = [(each, grammar.find_first(each, first)) for each in words]
    used = sorted({each[at] for each, at in starts if len(each) > at + 1 and _is_word(each[at])})
    helps = _print_help(blank, used, run) if used else {}
    between = [*_list_options(starts, helps, top, grammar.find_plain_options)]
    between_valued = [*_list_options(starts, helps, top, grammar.find_valued_options)]
    rules = Grammar(
        valued=first.valued,
        between=tuple(dict.fromkeys(between)),
        between_valued=tuple(dict.fromkeys(between_valued)),
        patterns=patterns,
    )
    groups = {
        each[at]
        for each, at in starts
        if at < len(each)
        and grammar.lists_word(helps.get(each[at], ""), grammar.find_second(each, at, rules))
    }
    return replace(rules, groups=tuple(sorted(groups)))


def _list_options(
    starts: Iterable[tuple[Sequence[str], int]],
    helps: Mapping[str, str],
    top: str,
    find: Callable[[str], Sequence[str]],
) -> Iterator[str]:
    """Yield the options in calls that `find` finds in a help, each after the word before it.

    An option that the help of this word does not have may be one of the whole program.
    """
    for words, at in starts:
        for option in filter(_is_option, words[at + 1 :]):
            own = helps.get(words[at], "")
            is_own = option in (*grammar.find_plain_options(own), *grammar.find_valued_options(own))
            if option in find(own if is_own else top):
                yield f"{words[at]} {option}"


def _is_option(word: str) -> bool:
    return word.startswith("-")


def _is_word(text: str) -> bool:
    return text.replace("-", "").replace("_", "").isalnum()


def _print_help(scenario: Scenario, words: Sequence[str], run: Run) -> Mapping[str, str]:
    """Return the help of each word, as far as the binary printed it."""
    mark = f"@{token_hex(8)} "
    result = run(scenario, ("/bin/sh", "-c", _PRINT, "sh", mark, *words))
    output = result.attempts[-1].output
    text = (output.head + output.tail).decode(errors="replace")
    parts = (part.partition("\n") for part in text.split(mark)[1:])
    return {word: shown for word, _, shown in parts}
