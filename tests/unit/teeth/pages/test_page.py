"""The HTML page of a measurement."""

from isosmoke.gate.proofs.teeth_cells import Cell, Sabotage, Verdict
from isosmoke.results.outcome import Outcome
from isosmoke.teeth import report
from isosmoke.teeth.pages import page
from isosmoke.teeth.report import TeethDocument
from isosmoke.teeth.scenario_rows import Row

ROWS = (
    Row(
        name="one",
        outcome=Outcome.PASS,
        subcommands=("<put>",),
        cells=(
            Cell(subcommand="<put>", sabotage=Sabotage.REPLAY, verdict=Verdict.SURVIVED),
            Cell(
                subcommand="<put>",
                sabotage=Sabotage.LIE,
                verdict=Verdict.BITES,
                reason="exit 1: \x1b[31m<b>",
            ),
        ),
    ),
)


def test_page_has_gaps_and_cells() -> None:
    """The page has each gap and each verdict with its reason; all text of a script is escaped."""
    document = TeethDocument(
        binary="ab",
        scenarios=report.record_rows(ROWS, {}, {}, {}),
        gaps=report.rank_gaps(ROWS),
        runs=2,
        reused=0,
        seconds=1.0,
    )
    text = page.render(document)

    assert "passes although <code>wg &lt;put&gt;</code> only prints its message</li>" in text
    assert text.count('<td class="SURVIVED"') == text.count('<td class="BITES"') == 1
    assert "exit 1: \\x1b[31m&lt;b&gt;" in text
    assert "default-src &#39;none&#39;" in text
    assert "<script" not in text
