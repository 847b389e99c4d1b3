"""Narrows a survivor down: sabotages one call at a time, and finds the line of each."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic

from isosmoke.errors import EngineError, UsageError
from isosmoke.gate.proofs import teeth_cells
from isosmoke.gate.proofs.teeth_cells import Cell, Sabotage, Verdict
from isosmoke.host import files
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.results.events import Event
from isosmoke.teeth import measurement, report, sabotages
from isosmoke.teeth.calls.call_log import Call
from isosmoke.teeth.explaining import explanation
from isosmoke.teeth.explaining.explanation import ExplanationDocument
from isosmoke.teeth.honest_runs import HonestRun
from isosmoke.teeth.measurement import MeasurementSettings, Work
from isosmoke.teeth.sabotaged_runs import SabotagedRun
from isosmoke.teeth.scenario_rows import Row
from isosmoke.text import suggest_match

_UNTRACED = "the scenario does not pass while its lines are traced"
_OTHER_CALLS = "with traced lines, the scenario makes other calls"


def explain(
    settings: MeasurementSettings,
    subcommand: str,
    caller: Caller,
    *,
    notify: Callable[[Event], None],
    interrupt: Interrupt,
) -> ExplanationDocument:
    """Explain what the only scenario of the settings does not notice of a subcommand.

    Raises:
        UsageError: if it does not call the subcommand, or notices every sabotage of it.
        IsosmokeError: if it cannot be run or does not pass, or after an interrupt.
    """
    (scenario,) = settings.scenarios
    started_at = monotonic()
    settings = replace(settings, subcommand=subcommand)
    with measurement.prepare(settings, caller, notify=notify, interrupt=interrupt) as work:
        measured = work.run()
        _refuse_interrupt(interrupt)
        survivor = _choose_survivor(measured.rows[0], subcommand)
        (honest,) = work.honest.run((scenario,))
        if not honest.passes:
            raise UsageError(*_describe_failure(honest.scenario.name, str(honest.result.outcome)))
        cells = _sabotage_each(work, honest, subcommand, survivor.sabotage)
        _refuse_interrupt(interrupt)
        traced = work.honest.run_traced(scenario).select(subcommand)
        script = _read_lines(work.copies.find_copy(scenario.script_path))
    calls, note = _add_places(honest.select(subcommand), traced)
    return ExplanationDocument(
        binary=measured.binary.sha256,
        program=measured.binary.source.name,
        scenario=scenario.name,
        script=scenario.script,
        subcommand=subcommand,
        sabotage=survivor.sabotage,
        sentence=teeth_cells.state_proof(survivor, measured.binary.source.name),
        calls=tuple(
            explanation.describe_call(number, call, cell, script)
            for number, (call, cell) in enumerate(zip(calls, cells, strict=True), start=1)
        ),
        note=note,
        runs=work.count_runs(),
        seconds=round(monotonic() - started_at, 3),
    )


def _refuse_interrupt(interrupt: Interrupt) -> None:
    if interrupt.is_raised:
        raise EngineError(f"interrupted by {interrupt.reason}: nothing was explained")


def _choose_survivor(row: Row, subcommand: str) -> Cell:
    """Return the cell of the strongest sabotage that was not noticed."""
    if not row.passes:
        raise UsageError(*_describe_failure(row.name, str(row.outcome), row.reason))
    command = teeth_cells.format_command(row.program, subcommand)
    if subcommand not in row.subcommands:
        commands = [teeth_cells.format_command(row.program, name) for name in row.subcommands]
        called = ", ".join(f"`{command}`" for command in commands)
        close = suggest_match(subcommand, row.subcommands)
        raise UsageError(
            f"{row.name} does not call `{command}`{close}",
            hint=f"it calls {called}" if called else "it calls no subcommand",
        )
    cells = [cell for cell in row.cells if cell.subcommand == subcommand]
    survivor = report.find_strongest(cells)
    if survivor is None:
        letters = ", ".join(f"{cell.sabotage} {cell.verdict}" for cell in cells)
        raise UsageError(
            f"there is no survivor: {row.name} notices each sabotage of `{command}` that was run",
            hint=f"its verdicts: {letters}",
        )
    return survivor


def _describe_failure(name: str, outcome: str, reason: str = "") -> tuple[str, str]:
    ending = f"{outcome}: {reason}" if reason else outcome
    return (
        f"{name} does not pass with the real binary: {ending}",
        f"isosmoke run {name}",
    )


def _sabotage_each(
    work: Work, honest: HonestRun, subcommand: str, sabotage: Sabotage
) -> tuple[Cell, ...]:
    """Return a cell for each call of a subcommand; one that shows no difference is not run."""
    calls = honest.select(subcommand)
    changed = sabotages.list_changed_calls(sabotage, calls)
    blank = Cell(subcommand=subcommand, sabotage=sabotage, verdict=Verdict.EQUIVALENT)
    cells = dict.fromkeys(range(len(calls)), blank)
    runs = [
        SabotagedRun(honest=honest, subcommand=subcommand, sabotage=sabotage, only=number)
        for number in sorted(changed)
    ]
    cells |= zip(sorted(changed), work.run_sabotaged(runs), strict=True)
    return tuple(cells.values())


def _add_places(calls: Sequence[Call], traced: Sequence[Call]) -> tuple[tuple[Call, ...], str]:
    """Return the calls with their places, and why these are not known, if they are not.

    A traced call corresponds to the call with its number. If their numbers differ, none does.
    """
    if len(calls) != len(traced):
        return tuple(calls), _OTHER_CALLS if traced else _UNTRACED
    pairs = zip(calls, traced, strict=True)
    return tuple(replace(call, place=other.place) for call, other in pairs), ""


def _read_lines(script: Path) -> list[str]:
    return files.read(script).decode(errors="replace").splitlines()
