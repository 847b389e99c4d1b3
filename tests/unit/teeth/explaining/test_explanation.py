"""The explanation of a survivor, as a document and as text."""

from isosmoke.gate.proofs.teeth_cells import Cell, Sabotage, Verdict
from isosmoke.results.outcome import Outcome
from isosmoke.teeth.explaining import explanation
from isosmoke.teeth.explaining.explanation import CallExplanation, ExplanationDocument
from support.call_factories import create_call

SCRIPT = ("set -e", "  wg put x", "wg put y")


def describe(number: int, verdict: Verdict, place: str) -> CallExplanation:
    """Return the record of a call with this verdict."""
    cell = Cell(
        subcommand="put", sabotage=Sabotage.NOOP, verdict=verdict, outcome=Outcome.PASS, reason="r"
    )
    return explanation.describe_call(number, create_call(place=place), cell, SCRIPT)


def create_document(*calls: CallExplanation, note: str = "") -> ExplanationDocument:
    """Return the explanation of a `noop` that was not noticed."""
    return ExplanationDocument(
        binary="ab",
        scenario="one",
        script="one.sh",
        subcommand="put",
        sabotage=Sabotage.NOOP,
        sentence="passes although `wg put` does nothing",
        calls=calls,
        note=note,
        runs=2,
        seconds=1.0,
    )


def test_call_has_its_line() -> None:
    """The line of the script has its text; a function of a library is named as well."""
    call = describe(1, Verdict.SURVIVED, "7\n2\n0\n./lib.sh\n/w/one.sh\n")

    assert (call.line, call.text, len(call.inner)) == (2, "wg put x", 1)
    assert "    through ./lib.sh:7" in explanation.render(create_document(call))


def test_text_names_the_calls_that_are_not_noticed() -> None:
    """The last line has the calls and their lines; a skip is no notice."""
    document = create_document(
        describe(1, Verdict.SURVIVED, "2\n0\none.sh\n"),
        describe(2, Verdict.BITES, "3\n0\none.sh\n"),
        describe(3, Verdict.ESCAPED, ""),
        describe(4, Verdict.SURVIVED, "2\n3\n0\none.sh\none.sh\n"),
    )
    lines = [*explanation.render(document)]

    assert lines[0] == "one: passes although `wg put` does nothing"
    assert "    one.sh:2: wg put x" in lines
    assert "    BITES: r" in lines
    assert "    called in line 3" in lines
    calls = "call 1 (line 2), call 3, call 4 (line 3)"
    assert lines[-1] == f"it does not notice if `wg put` does nothing in {calls}"


def test_text_of_calls_that_are_noticed_one_by_one() -> None:
    """A scenario may notice each call, and not all of them together; a note follows."""
    call = describe(1, Verdict.BITES, "")
    lines = [*explanation.render(create_document(call, note="no lines"))]

    assert lines[-2].endswith("in any single call, but not in all of them at once")
    assert lines[-1] == "note: no lines"


def test_line_that_the_script_no_longer_has_is_without_text() -> None:
    """A script may have changed since its line was traced."""
    assert describe(1, Verdict.BITES, "9\n0\none.sh\n").text == ""
