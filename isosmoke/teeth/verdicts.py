"""The verdict on each cell: whether a scenario notices that a subcommand is broken."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from isosmoke.gate.proofs.teeth_cells import Cell, Sabotage, Verdict
from isosmoke.results.outcome import Outcome
from isosmoke.results.run_results import ScenarioResult
from isosmoke.sandbox.survivors import Process
from isosmoke.teeth import sabotages
from isosmoke.teeth.calls.call_log import Call

_ORPHAN = "isosmoke-orphan"
"""The name of a process that `orphan` leaves, as its command line has it."""

UNNOTICED = frozenset({Verdict.SURVIVED, Verdict.IMPLIED})


def judge(
    cell: tuple[str, Sabotage], result: ScenarioResult | None, calls: Sequence[Call] | None
) -> Cell:
    """Return the cell for the result of a sabotaged run and its calls.

    None as `result` or `calls` means that they are not known.
    """
    subcommand, sabotage = cell
    blank = Cell(subcommand=subcommand, sabotage=sabotage, verdict=Verdict.ERROR)
    if result is None or calls is None:
        return replace(blank, reason="its calls are not known")
    outcome = result.outcome
    judged = replace(
        blank,
        outcome=outcome,
        reason=result.reported_attempt.reason,
        left_process=any(map(_is_orphan, _list_leaks(result))),
    )
    if not outcome.facts.was_tried or outcome is Outcome.ERROR:
        return judged
    if not any(call.applied == sabotage for call in calls):
        reason = f"`{subcommand}` was not called, or its stand-in did not report itself"
        return replace(judged, verdict=Verdict.VOID, reason=reason)
    return replace(judged, verdict=_judge_outcome(outcome, sabotage, result))


def _list_leaks(result: ScenarioResult) -> Iterator[Process]:
    return (process for attempt in result.attempts for process in attempt.leaks)


def _is_orphan(process: Process) -> bool:
    """Return whether the stand-in left a process on purpose; the scenario may leave others."""
    return process.argv == (_ORPHAN,)


def _judge_outcome(outcome: Outcome, sabotage: Sabotage, result: ScenarioResult) -> Verdict:
    """Return the verdict on a run in which the sabotage was applied.

    A hang was applied, so it explains a timeout; any other one has to be confirmed.
    """
    match outcome:
        case Outcome.PASS | Outcome.FLAKY:
            return Verdict.SURVIVED
        case Outcome.SKIP:
            return Verdict.ESCAPED
        case Outcome.TIMEOUT:
            is_confirmed = result.attempts[-1].alone or sabotage is Sabotage.HANG
            return Verdict.BITES if is_confirmed else Verdict.ERROR
        case _:
            return Verdict.BITES


def decide_without_run(
    cell: tuple[str, Sabotage], calls: Sequence[Call], known: Sequence[Cell]
) -> Cell | None:
    """Return a cell that need not be run; None if it has to be.

    `known` are the cells of the same subcommand so far.
    """
    subcommand, sabotage = cell
    blank = Cell(subcommand=subcommand, sabotage=sabotage, verdict=Verdict.VOID)
    if reason := sabotages.find_unusable(sabotage, calls):
        return replace(blank, reason=reason)
    if sabotages.is_equivalent(sabotage, calls):
        return replace(blank, verdict=Verdict.EQUIVALENT)
    for survivor in _find_survivors(known):
        if sabotages.is_implied(sabotage, survivor, calls):
            reason = f"{survivor} was not noticed"
            return replace(blank, verdict=Verdict.IMPLIED, reason=reason)
    return None


def _find_survivors(cells: Sequence[Cell]) -> Iterator[Sabotage]:
    return (cell.sabotage for cell in cells if cell.verdict is Verdict.SURVIVED)


PSEUDO = (Sabotage.REPLAY, Sabotage.MUTE, Sabotage.LIE)


def is_pseudo_tested(cells: Sequence[Cell]) -> bool:
    """Return whether the cells of a subcommand show that none of its three aspects is tested.

    Its work, its output and its status are tested if the scenario notices `replay`, `mute` and
    `lie`. A sabotage without an observable difference is noticed by no scenario.
    """
    verdicts = {cell.sabotage: cell.verdict for cell in cells}
    decided = [verdicts[sabotage] for sabotage in PSEUDO if sabotage in verdicts]
    return (
        len(decided) == len(PSEUDO)
        and all(verdict in {*UNNOTICED, Verdict.EQUIVALENT} for verdict in decided)
        and any(verdict in UNNOTICED for verdict in decided)
    )


def has_failed_self_test(cells: Sequence[Cell]) -> bool:
    """Return whether processes were left on purpose, and none of them was found as a leak."""
    applied = [
        cell
        for cell in cells
        if cell.sabotage is Sabotage.ORPHAN
        and cell.verdict in {Verdict.BITES, Verdict.SURVIVED, Verdict.ESCAPED}
    ]
    return bool(applied) and not any(cell.left_process for cell in applied)
