"""The grammar of a binary, from the help texts that it prints."""

import pytest

from isosmoke.manifest.models import Scenario
from isosmoke.results.outcome import Exited
from isosmoke.results.run_results import Attempt, CapturedOutput, ScenarioResult
from isosmoke.teeth.calls import grammar, help_texts
from support.call_factories import create_call
from support.result_factories import make_result

HELPS = {
    "": "Commands:\n  service  Control it\nOptions:\n  -d, --dir <PATH>  At\n  --json  JSON\n",
    "service": "Commands:\n  stop  Stop it\nOptions:\n  -v  More\n  -t, --time <N>  Wait\n",
    "add": "Options:\n  -v <LEVEL>  Level\n",
}
"""The help of a binary and of its words; the options of the first are good for each word."""


def print_help(_scenario: Scenario, argv: tuple[str, ...]) -> ScenarioResult:
    """Return the result of a command that prints the help of words."""
    mark, *words = argv[4:]
    text = "".join(f"{mark}{word}\n{HELPS.get(word, '')}" for word in words).encode()
    output = CapturedOutput(size=len(text), head=text)
    return make_result(Attempt(ending=Exited(0), output=output))


NAMES = {
    "service stop": "service stop",
    "service --json stop": "service stop",
    "service --dir add stop": "service stop",
    "--dir service service stop": "service stop",
    "service -v -- stop": "service stop",
    "service -t 3 stop": "service stop",
    "service --time=3 --json stop": "service stop",
    "service --secret stop": "service",
    "service -t stop": "service",
    "add -v stop": "add",
}


@pytest.mark.parametrize(("line", "name"), NAMES.items())
def test_options_between_the_words_of_a_name(line: str, name: str) -> None:
    """A known option between two words is skipped; after another one, no word is named."""
    call = create_call(argv=(b"wg", *line.encode().split()))
    scenario = Scenario(name="one", script="one.sh")
    shown = [create_call(argv=(b"wg", b"service", b"stop"))]
    rules = help_texts.find_grammar(scenario, [call, *shown], (), print_help)
    assert grammar.name_call(line.split(), rules) == name
