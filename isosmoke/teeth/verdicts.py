"""The verdict on each cell: whether a scenario notices that a subcommand is broken."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from isosmoke.results.outcome import Outcome
from isosmoke.results.run_results import ScenarioResult
from isosmoke.teeth import sabotages
from isosmoke.teeth.calls.call_log import Call
from isosmoke.teeth.sabotages import Sabotage


class Verdict(StrEnum):
    """The result of one sabotage of one subcommand in one scenario."""

    BITES = "BITES"
    """The scenario fails, leaves a process, or misses its deadline in isolation."""

    SURVIVED = "SURVIVED"
    """The scenario passes."""

    ESCAPED = "ESCAPED"
    """The scenario skips."""

    EQUIVALENT = "EQUIVALENT"
    """Not run: the sabotage changes nothing that these calls let a scenario observe."""

    IMPLIED = "IMPLIED"
    """Not run: the scenario did not notice a stronger sabotage."""

    VOID = "VOID"
    """The sabotaged call never happened, or did not report itself."""

    ERROR = "ERROR"
    """The scenario could not be run, or broke its own preparation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One sabotage of one subcommand in one scenario.

    `outcome` is None if it was not run. `reason` explains the verdict; it may be empty.
    """

    subcommand: str
    sabotage: Sabotage
    verdict: Verdict
    outcome: Outcome | None = None
    reason: str = ""
    left_process: bool = False


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
        left_process=any(attempt.leaks for attempt in result.attempts),
    )
    if not outcome.facts.was_tried or outcome is Outcome.ERROR:
        return judged
    if not any(call.applied == sabotage for call in calls):
        reason = f"`{subcommand}` was not called, or its stand-in did not report itself"
        return replace(judged, verdict=Verdict.VOID, reason=reason)
    return replace(judged, verdict=_judge_outcome(outcome, sabotage, result))


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


REQUIRED = (Sabotage.NOOP, Sabotage.REPLAY, Sabotage.LIE)
"""The sabotages that a scenario has to notice in a subcommand that its entry declares."""


def list_toothless(
    declared: Sequence[str], subcommands: Sequence[str], cells: Sequence[Cell]
) -> tuple[str, ...]:
    """Return the declared subcommands that the scenario does not call or does not test.

    `subcommands` are those that it calls. A sabotage that was not decided counts as noticed.
    """
    failed = {
        cell.subcommand
        for cell in cells
        if cell.sabotage in REQUIRED and cell.verdict in {*UNNOTICED, Verdict.ESCAPED, Verdict.VOID}
    }
    return tuple(name for name in declared if name not in subcommands or name in failed)


def has_failed_self_test(cells: Sequence[Cell]) -> bool:
    """Return whether processes were left on purpose, and none of them was found as a leak."""
    applied = [
        cell
        for cell in cells
        if cell.sabotage is Sabotage.ORPHAN
        and cell.verdict in {Verdict.BITES, Verdict.SURVIVED, Verdict.ESCAPED}
    ]
    return bool(applied) and not any(cell.left_process for cell in applied)
