"""The report of a measurement."""

from isosmoke.gate.proofs.teeth_cells import Cell, Sabotage, Verdict
from isosmoke.results.outcome import Outcome
from isosmoke.teeth import report
from isosmoke.teeth.report import TeethDocument
from isosmoke.teeth.scenario_rows import Row

ROW = Row(
    name="one",
    outcome=Outcome.PASS,
    subcommands=("put",),
    cells=(
        Cell(
            subcommand="put",
            sabotage=Sabotage.NOOP,
            verdict=Verdict.SURVIVED,
            outcome=Outcome.PASS,
        ),
        Cell(subcommand="put", sabotage=Sabotage.REPLAY, verdict=Verdict.IMPLIED),
        Cell(subcommand="put", sabotage=Sabotage.LIE, verdict=Verdict.BITES, outcome=Outcome.FAIL),
    ),
    program="depot",
)


def test_each_sentence_names_the_binary() -> None:
    """The matrix, the gaps and the flaws have the name of the binary that was measured."""
    document = TeethDocument(
        binary="0" * 64,
        program="depot",
        scenarios=report.record_rows([ROW], {"one": ("put", "list")}, {}, {}),
        gaps=report.rank_gaps([ROW]),
        runs=2,
        reused=0,
        seconds=1.0,
    )
    text = "\n".join(report.render_text(document, is_short=False))

    assert "  depot put  " in text
    assert "one: passes although `depot put` does nothing" in text
    assert "TOOTHLESS one: never calls `depot list`, which its `teeth` names" in text
    assert "`wg" not in text + document.model_dump_json()
