"""Writing of receipts of teeth, one for each scenario that declares teeth and was measured."""

from collections.abc import Mapping
from pathlib import Path

from isosmoke.gate import in_toto, receipt_inputs, receipt_writer
from isosmoke.gate.proofs import teeth_cells, teeth_receipt
from isosmoke.gate.proofs.teeth_cells import REQUIRED
from isosmoke.gate.proofs.teeth_receipt import TeethCircumstances
from isosmoke.history import gate_records, record_homes
from isosmoke.host import files, git
from isosmoke.host.caller_process import Caller
from isosmoke.host.git import Checkout
from isosmoke.keeper import STAND_IN_FILE
from isosmoke.manifest.models import Scenario
from isosmoke.teeth.measurement import Measurement, MeasurementSettings
from isosmoke.teeth.scenario_rows import Row


def save_all(
    measured: Measurement,
    settings: MeasurementSettings,
    caller: Caller,
    *,
    also_in: Path | None,
) -> Mapping[str, Path]:
    """Write a receipt for each scenario whose declared teeth were measured; return the paths.

    It is of what was hashed at the start, and of which copies ran. A copy of it is written to the
    directory `also_in`, unless that is None. A measurement has none with patterns that are not
    those of the manifest, and in a place, as a gate could not know which workers made it.

    Raises:
        IsosmokeError: if no home is writable.
    """
    scenarios = {scenario.name: scenario for scenario in settings.scenarios}
    found = [row for row in measured.rows if _is_measured(row, scenarios[row.name])]
    if not found or settings.has_own_patterns or settings.place is not None:
        return {}
    homes = record_homes.list_homes(caller, settings.manifest.path)
    checkout = git.read_checkout(settings.manifest.path.absolute().parent, caller.environment)
    paths = {}
    for row in found:
        statement = teeth_receipt.create_receipt(
            _describe(row, scenarios[row.name], measured, settings, checkout=checkout),
            measured.inputs[row.name],
            binary=measured.binary.sha256,
            program=files.sha256(STAND_IN_FILE),
        )
        text = in_toto.render(statement)
        paths[row.name] = gate_records.save_proof(homes, f"{row.name}.teeth", text)
        if also_in is not None:
            also_in.mkdir(parents=True, exist_ok=True)
            files.write(also_in / f"{row.name}.teeth.json", text)
    return paths


def _is_measured(row: Row, scenario: Scenario) -> bool:
    """Return whether each required sabotage of each declared subcommand has a verdict."""
    flaws = teeth_cells.find_flaws(scenario.teeth, row.subcommands, row.cells, row.program)
    return bool(scenario.teeth) and row.passes and not any(flaw.is_undecided for flaw in flaws)


def _describe(
    row: Row,
    scenario: Scenario,
    measured: Measurement,
    settings: MeasurementSettings,
    *,
    checkout: Checkout | None,
) -> TeethCircumstances:
    path = settings.manifest.path
    return TeethCircumstances(
        scenario=row.name,
        tested_at=receipt_writer.format_now(),
        manifest=receipt_writer.name_manifest(path),
        binary=receipt_inputs.shorten_path(measured.binary.source, receipt_inputs.find_base(path)),
        declared=scenario.teeth,
        called=row.subcommands,
        cells=tuple(
            teeth_receipt.record_cell(cell)
            for cell in row.cells
            if cell.subcommand in scenario.teeth and cell.sabotage in REQUIRED
        ),
        patterns=settings.grammar_patterns,
        repository=checkout,
        engine=measured.engine,
    )
