"""Summary of a run as a small JSON document, for agents and scripts."""

from collections.abc import Iterator
from typing import Literal

from isosmoke.reports import wording
from isosmoke.results import repeat_command
from isosmoke.results.outcome import Outcome
from isosmoke.results.records.document_base import RecordModel, Text
from isosmoke.results.records.origin import BinaryRecord, RepositoryRecord
from isosmoke.results.records.record_base import render_json
from isosmoke.results.run_record import RunRecord, ScenarioRecord
from isosmoke.text import quote_command, shorten

_MOST = 50


class WarnedScenario(RecordModel):
    """A scenario that does not block and did not plainly pass, such as a skip."""

    name: str
    outcome: Outcome
    reason: Text


class BlockingScenario(WarnedScenario):
    """A scenario that blocks, with the commands that repeat it and show everything about it."""

    assertion: Text
    log: Text | None
    repeat: Text
    show: Text


class RunSummary(RecordModel):
    """The output of `isosmoke run --json=summary`: counts, and what blocks or is no plain pass.

    `ok` is true if nothing blocks, nothing was left behind, the run was not stopped and, if it was
    merged, every shard counts. `rest` is the command that runs the rest of a stopped run; it is
    empty for any other. The lists have at most 50 scenarios each; `left_out` is the number of all
    others.
    """

    schema_version: Literal[1] = 1
    run: str
    ok: bool
    stopped: Text
    counts: dict[str, int]
    seconds: float
    engine: Text
    binary: BinaryRecord | None
    repository: RepositoryRecord | None
    blocking: tuple[BlockingScenario, ...]
    warned: tuple[WarnedScenario, ...]
    left_out: int
    dirty: tuple[Text, ...]
    notes: tuple[Text, ...]
    rest: Text
    record: Text | None


def render(run: RunRecord) -> str:
    """Return the summary of a run as JSON."""
    return render_json(summarize(run))


def summarize(run: RunRecord) -> RunSummary:
    """Return the summary of a run."""
    blocking, warned = tuple(_list_blocking(run)), tuple(_list_warned(run))
    return RunSummary(
        run=run.id,
        ok=run.is_whole and not blocking,
        stopped=run.stopped or "",
        counts=dict(run.counts),
        seconds=run.seconds,
        engine=run.engine,
        binary=run.binary,
        repository=run.repository,
        blocking=blocking[:_MOST],
        warned=warned[:_MOST],
        left_out=len(blocking[_MOST:]) + len(warned[_MOST:]),
        dirty=wording.list_leftovers(run),
        notes=tuple(map(shorten, run.notes)),
        rest=wording.describe_continuation(run),
        record=None if run.record is None else str(run.record),
    )


def _list_blocking(run: RunRecord) -> Iterator[BlockingScenario]:
    for scenario in run.scenarios:
        if scenario.blocks:
            repeat = repeat_command.build_repeat_command(run, scenario.name)
            show = ("isosmoke", "show", f"{run.id}/{scenario.name}")
            yield BlockingScenario(
                name=scenario.name,
                outcome=scenario.outcome,
                reason=shorten(scenario.reason),
                assertion=shorten(scenario.assertion),
                log=_find_log(scenario),
                repeat=quote_command(repeat),
                show=quote_command(show),
            )


def _find_log(scenario: ScenarioRecord) -> str | None:
    return scenario.output.log if scenario.output.size else None


def _list_warned(run: RunRecord) -> Iterator[WarnedScenario]:
    for scenario in run.scenarios:
        if scenario.outcome.facts.effect == "warned":
            yield WarnedScenario(
                name=scenario.name, outcome=scenario.outcome, reason=shorten(scenario.reason)
            )
