"""A measurement of teeth in the HTML report: its age, what is stale, and its order."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from isosmoke.gate.proofs.teeth_cells import Cell, Sabotage, Verdict
from isosmoke.reports import html
from isosmoke.reports.html.supplement import Supplement
from isosmoke.results.outcome import Exited, Outcome
from isosmoke.results.run_record import RunRecord
from isosmoke.results.run_results import Attempt
from isosmoke.teeth import report
from isosmoke.teeth.pages import kept, matrices
from isosmoke.teeth.report import TeethDocument
from isosmoke.teeth.scenario_rows import Row
from support import records, result_factories

GAP = Cell(subcommand="put", sabotage=Sabotage.MUTE, verdict=Verdict.SURVIVED)
BITE = Cell(subcommand="put", sabotage=Sabotage.LIE, verdict=Verdict.BITES)


def make_row(name: str, *cells: Cell, outcome: Outcome = Outcome.PASS) -> Row:
    """Return the row of a scenario that calls one subcommand."""
    return Row(name=name, outcome=outcome, reason="why", subcommands=("put",), cells=cells)


def make_run(*scripts: str) -> RunRecord:
    """Return a run of the scenarios `s0`, `s1`, … with scripts of these hashes."""
    return records.make_record(
        *(
            result_factories.make_result(
                Attempt(ending=Exited(0), script_sha256=script), name=f"s{number}"
            )
            for number, script in enumerate(scripts)
        )
    )


def make_document(run: RunRecord, *rows: Row, minutes: float = 90) -> TeethDocument:
    """Return a measurement with its end before a run; all scripts have the hash `measured`."""
    return TeethDocument(
        measured_at=run.started_at - timedelta(minutes=minutes),
        binary=run.binary.sha256 if run.binary else "",
        scenarios=report.record_rows(rows, {}, {}, {row.name: "measured" for row in rows}),
        gaps=report.rank_gaps(rows),
        runs=3,
        reused=1,
        seconds=1.0,
    )


@pytest.mark.parametrize(
    ("minutes", "age"),
    [
        (0.5, "less than a minute before this run"),
        (1, "1 minute before this run"),
        (119, "1 hour before this run"),
        (60 * 24 * 3, "3 days before this run"),
        (-120, "2 hours after this run"),
    ],
)
def test_age_is_relative_to_the_run(minutes: float, age: str) -> None:
    """A page is read long after it was written."""
    run = make_run("measured")
    document = make_document(run, make_row("s0", GAP), minutes=minutes)
    assert matrices.describe(document, run).summary.startswith(f"measured {age}, 3 sabotaged runs")


def test_scenario_with_another_script_is_stale() -> None:
    """A scenario that was not run, or whose script is not known, is not called stale."""
    run = make_run("measured", "changed", "")
    names = ("s0", "s1", "s2", "gone")
    document = make_document(run, *(make_row(name, GAP) for name in names))
    described = matrices.describe(document, run).matrices

    assert {item.name: item.is_stale for item in described} == {
        "s0": False,
        "s1": True,
        "s2": False,
        "gone": False,
    }


def test_other_binary_and_missing_scenarios_are_noted() -> None:
    """A measurement of another binary, or of fewer scenarios, does not look complete."""
    run = make_run("measured", "measured")
    document = make_document(run, make_row("s0", GAP))
    other = document.model_copy(update={"binary": "f" * 64})

    assert matrices.describe(other, run).notes == (
        "This run tested another binary: 0123456789ab.",
        "1 scenario of this run had no part in the measurement.",
    )


def test_scenarios_with_gaps_come_first() -> None:
    """A scenario that did not pass has no matrix, but its outcome and reason."""
    run = make_run("measured")
    document = make_document(
        run, make_row("a", BITE), make_row("b", outcome=Outcome.FAIL), make_row("c", GAP, BITE)
    )
    described = matrices.describe(document)

    assert [(item.name, item.unnoticed) for item in described.matrices] == [
        ("c", 1),
        ("a", 0),
        ("b", 0),
    ]
    assert described.matrices[0].columns == ("mute", "lie")
    assert [cell.letter for cell in described.matrices[0].rows[0].cells] == ["S", "b"]
    assert described.matrices[2].rows == ()


def test_report_has_a_part_about_teeth() -> None:
    """It says what to fix first; without a measurement there is no such part."""
    run = make_run("changed")
    teeth = matrices.describe(make_document(run, make_row("s0", GAP)), run)
    page = html.render(run, Supplement(teeth=teeth))

    assert '<section class="overview" id="~teeth">' in page
    assert "<li>s0: passes although <code>wg put</code> prints nothing</li>" in page
    assert '<b class="stale">stale</b>' in page
    assert '<td class="SURVIVED" title="SURVIVED: passes although' in page
    assert 'id="~teeth"' not in html.render(run)


def test_newest_measurement_of_the_project_is_read(tmp_path: Path) -> None:
    """One that cannot be read is left out; a few old ones are kept."""
    record = tmp_path / ".isosmoke/runs/1"
    run = replace(make_run("measured"), record=str(record))
    assert kept.load_newest(run) is None
    for minutes in range(12):
        kept.save(make_document(run, make_row(f"m{minutes}", GAP), minutes=minutes), tmp_path)
    directory = tmp_path / ".isosmoke/teeth"
    assert len([*directory.iterdir()]) == 10
    (directory / "99999999-000000-0000.json").write_text("{")

    newest = kept.load_newest(run)
    assert newest is not None
    assert newest.scenarios[0].name == "m0"
    assert kept.load_newest(replace(run, command=("true",))) is None
