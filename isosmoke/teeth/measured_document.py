"""The JSON document of a measurement."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from isosmoke.teeth import report, verdicts
from isosmoke.teeth.measurement import Measurement, MeasurementSettings
from isosmoke.teeth.report import Sample, TeethDocument


def create(
    measured: Measurement, settings: MeasurementSettings, receipts: Mapping[str, Path]
) -> TeethDocument:
    """Return the document; `receipts` has the path of the receipt of each scenario with one."""
    cells = [cell for row in measured.rows for cell in row.cells]
    sample = Sample(seed=settings.seed, cells_left_out=measured.left_out)
    return TeethDocument(
        measured_at=datetime.now(UTC),
        binary=measured.binary.sha256,
        program=measured.binary.source.name,
        scenarios=report.record_rows(
            measured.rows,
            {scenario.name: scenario.teeth for scenario in settings.scenarios},
            receipts,
            measured.scripts,
        ),
        gaps=report.rank_gaps(measured.rows),
        runs=measured.runs,
        reused=measured.reused,
        seconds=round(measured.seconds, 3),
        sample=sample if measured.left_out else None,
        self_test_failed=verdicts.has_failed_self_test(cells),
    )
