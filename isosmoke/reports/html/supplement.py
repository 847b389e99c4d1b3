"""Data on a page that the record of a run does not have: logs, scripts, earlier outcomes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from itertools import groupby
from statistics import median
from typing import Protocol

from isosmoke.dataclass import dataclass
from isosmoke.results.outcome import Outcome, count, describe_counts, sort_counts
from isosmoke.results.records.attempt import OutputRecord
from isosmoke.results.run_record import RunRecord, ScenarioRecord
from isosmoke.results.run_results import CapturedOutput

SHOWN = 20
"""The number of outcomes in a row, with that of the run itself as the last."""

STEP = 8
"""The distance of two squares, in pixels."""


class PastOutcome(Protocol):
    """The outcome of a scenario in an earlier run, and the hashes of what was tested."""

    @property
    def run(self) -> str: ...
    @property
    def outcome(self) -> Outcome: ...
    @property
    def seconds(self) -> float: ...
    @property
    def inputs(self) -> tuple[str, str]: ...


@dataclass(frozen=True, slots=True)
class TeethCell:
    """The verdict on one sabotage, its letter and why; all are empty if it was not decided."""

    verdict: str = ""
    letter: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeethRow:
    """A subcommand, with a cell for each column of its matrix."""

    command: str
    is_pseudo_tested: bool
    cells: tuple[TeethCell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TeethMatrix:
    """The sabotages of a scenario; it has no rows unless its run with the real binary passed.

    `unnoticed` is the number of those that it did not notice. It `is_stale` if the script that ran
    is not the one that was measured.
    """

    name: str
    outcome: Outcome
    reason: str
    is_stale: bool
    unnoticed: int
    columns: tuple[str, ...]
    rows: tuple[TeethRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Teeth:
    """A measurement of teeth: what to fix first, and a matrix for each scenario."""

    summary: str
    notes: tuple[str, ...]
    gaps: tuple[str, ...]
    gaps_left_out: int
    legend: str
    matrices: tuple[TeethMatrix, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplement:
    """Files of a run and outcomes of earlier runs; a page without them shows the record alone.

    `scripts` are the scripts as they ran, by scenario, and `changed` names the scenarios whose
    scripts changed since. `logs` are the logs by their recorded path. `past` has the earlier
    outcomes of each scenario, oldest first. `teeth` is the newest measurement of the project.
    """

    scripts: Mapping[str, str] = field(default_factory=dict)
    changed: frozenset[str] = frozenset()
    logs: Mapping[str, CapturedOutput] = field(default_factory=dict)
    past: Mapping[str, Sequence[PastOutcome]] = field(default_factory=dict)
    teeth: Teeth | None = None

    def get_past(self, scenario: ScenarioRecord) -> Sequence[PastOutcome]:
        """Return the earlier outcomes of a scenario, oldest first."""
        return self.past.get(scenario.name, ())

    def get_log(self, output: OutputRecord) -> CapturedOutput | None:
        """Return the log of an output; None if it was not read."""
        return self.logs.get(output.log or "")


NOTHING = Supplement()


@dataclass(frozen=True, slots=True, kw_only=True)
class Squares:
    """The last outcomes of a scenario: groups of equal ones, each with its start and end in pixels.

    `label` says the same in words.
    """

    groups: tuple[tuple[Outcome, int, int], ...]
    label: str

    @property
    def width(self) -> int:
        """The width of all squares, in pixels."""
        return self.groups[-1][2]


def build_squares(scenario: ScenarioRecord, supplement: Supplement) -> Squares | None:
    """Return the last outcomes of a scenario, oldest first; None if no earlier one is known."""
    past = supplement.get_past(scenario)
    if not past:
        return None
    outcomes = [*(item.outcome for item in past[1 - SHOWN :]), scenario.outcome]
    counts = describe_counts(sort_counts(count(outcomes)))
    return Squares(groups=tuple(_group(outcomes)), label=f"last {len(outcomes)} outcomes: {counts}")


def _group(outcomes: Sequence[Outcome]) -> Iterator[tuple[Outcome, int, int]]:
    start = 0
    for outcome, items in groupby(outcomes):
        end = start + STEP * len([*items])
        yield outcome, start, end
        start = end


def find_usual_seconds(scenario: ScenarioRecord, supplement: Supplement) -> float | None:
    """Return the median duration of earlier passes; None if there is none."""
    past = supplement.get_past(scenario)
    passes = [item.seconds for item in past if item.outcome is Outcome.PASS]
    return median(passes) if passes else None


def is_flaky(run: RunRecord, scenario: ScenarioRecord, supplement: Supplement) -> bool:
    """Return whether a scenario passed and failed with the same binary and script."""
    if scenario.outcome is Outcome.FLAKY:
        return True
    inputs = get_inputs(run, scenario)
    same = [item for item in supplement.get_past(scenario) if item.inputs == inputs]
    outcomes = {scenario.outcome, *(item.outcome for item in same)}
    has_failed = any(outcome.blocks and outcome.facts.was_tried for outcome in outcomes)
    is_certain = bool(inputs[1]) and not run.command
    return is_certain and (Outcome.FLAKY in outcomes or (has_failed and Outcome.PASS in outcomes))


def get_inputs(run: RunRecord, scenario: ScenarioRecord) -> tuple[str, str]:
    """Return the hashes of the binary and of the script; an unknown one is empty."""
    binary = run.binary.sha256 if run.binary else ""
    return binary, scenario.attempts[-1].script_sha256 or ""
