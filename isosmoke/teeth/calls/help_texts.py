"""The grammar of a binary, from the help texts that it prints in a sandbox."""

from collections.abc import Callable, Iterable, Mapping, Sequence
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
    valued = grammar.find_valued_options(top)
    first = Grammar(valued=valued)
    pairs = {(grammar.name_call(each, first), _find_second(each, first)) for each in words}
    used = sorted({word for word, second in pairs if word and second and _is_word(word)})
    helps = _print_help(blank, used, run) if used else {}
    groups = {word for word, second in pairs if grammar.lists_word(helps.get(word, ""), second)}
    return Grammar(valued=valued, groups=tuple(sorted(groups)), patterns=patterns)


def _find_second(words: Sequence[str], rules: Grammar) -> str:
    """Return the word after the first one that is no option; empty without one."""
    name = grammar.name_call(words, rules)
    at = list(words).index(name) + 1 if name in words else len(words)
    return words[at] if at < len(words) else ""


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
