"""The line of a script that failed."""

import pytest

from isosmoke.reports.html import script_excerpt
from isosmoke.reports.html.script_excerpt import Excerpt
from isosmoke.results.outcome import Exited
from isosmoke.results.records import creation
from isosmoke.results.run_results import Attempt
from support import records, result_factories

SCRIPT = """\
#!/bin/bash
# says "the graph is lost"
start
echo "one"
echo "two"
[ "$a" = "$b" ] || fail "the graph is lost: $a of ${b} tasks"
printf 'another message\\n'
echo "two words and a half"
"""


def find(output: str, script: str = SCRIPT, code: int = 1) -> Excerpt | None:
    """Return the excerpt for a scenario with this output on stderr."""
    captured = records.make_output(output)
    attempt = Attempt(ending=Exited(code), output=captured, stderr=captured)
    scenario = creation.record_scenario(result_factories.make_result(attempt))
    return script_excerpt.find_excerpt(scenario, script)


def test_line_that_bash_named() -> None:
    """It has four neighbours on each side, with their numbers."""
    excerpt = find("one.sh: line 6: lose: command not found\n")

    assert excerpt
    assert (excerpt.number, excerpt.basis) == (6, "bash named it in its last message")
    assert [number for number, _ in excerpt.lines] == [2, 3, 4, 5, 6, 7, 8]
    assert dict(excerpt.lines)[3] == "start"


def test_line_with_the_text_of_the_message() -> None:
    """Expansions are not compared, and comments say nothing."""
    excerpt = find("the graph is lost: 11 of 12 tasks\n")

    assert excerpt
    assert (excerpt.number, excerpt.basis) == (6, "it has the text of the message")


@pytest.mark.parametrize(
    "line",
    [
        r"printf '\033[31mthe sum is lost: %s of %d\033[0m\n' 3 4 >&2",
        r'echo -e "\e[1;31mthe sum is lost: $a\e[0m of 4" >&2',
    ],
)
def test_line_that_prints_in_colours(line: str) -> None:
    """Colours and what printf replaces are no text; an assignment of a constant prints nothing."""
    excerpt = find(
        "\x1b[31mthe sum is lost: 3\x1b[0m of 4\n", f"expected='sum is lost: 3'\n{line}\n"
    )

    assert excerpt
    assert excerpt.number == 2


def test_message_is_preferred_to_progress() -> None:
    """A longer text that was printed before the message does not hide the line of the message."""
    excerpt = find("two words and a half\nthe graph is lost: 11 of 12 tasks\n")

    assert excerpt
    assert excerpt.number == 6


@pytest.mark.parametrize(
    ("output", "script"),
    [
        ("", SCRIPT),
        ("unknown\n", SCRIPT),
        ("one\n", SCRIPT),
        ("a text twice\n", "echo 'a text twice'\necho 'a text twice'\n"),
        ("one.sh: line 99: x\n", SCRIPT),
        ("one.sh: line 1: x\n", ""),
    ],
)
def test_no_line_is_shown_without_a_reason(output: str, script: str) -> None:
    """Nothing is guessed: short texts, texts that occur twice, and lines that do not exist."""
    assert find(output, script) is None


def test_script_that_succeeded_has_no_failing_line() -> None:
    """A leak is not the fault of the line that printed the last message."""
    assert find("the graph is lost: 11 of 12 tasks\n", code=0) is None
