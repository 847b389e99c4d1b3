"""The verdict of a run in a sentence, and what identifies the run."""

from collections.abc import Iterator, Mapping
from pathlib import PurePath

from isosmoke.reports import wording
from isosmoke.results.outcome import Outcome, count, describe_counts, sort_counts
from isosmoke.results.run_record import RunRecord
from isosmoke.text import escape_controls, quote_command, truncate

_MAX_LENGTH = 1000


def summarize(run: RunRecord) -> str:
    """Return the verdict in a few words, for the title of a browser tab."""
    blocking = sum(scenario.blocks for scenario in run.scenarios)
    if run.stopped:
        return truncate(f"Stopped by {run.stopped}")
    if not run.finished:
        return "Not finished"
    if blocking:
        return f"{blocking} of {len(run.scenarios)} blocking"
    if run.is_incomplete:
        return "Not all shards count"
    return _summarize_open(run)


def _summarize_open(run: RunRecord) -> str:
    """Return the verdict on a whole run in which no scenario blocks."""
    if run.dirty:
        return "Nothing blocking, but DIRTY"
    return "Nothing blocking" if run.scenarios else "Nothing was run"


def describe(run: RunRecord) -> str:
    """Return the verdict as a sentence."""
    if not run.scenarios:
        return "Nothing was run."
    end = ", but its cleanup could not be confirmed." if run.dirty else "."
    return f"{_describe_end(run)}{_describe_outcomes(run)}{end}"


def _describe_end(run: RunRecord) -> str:
    if run.stopped:
        return f"Stopped by {truncate(run.stopped)}: "
    if not run.finished:
        return "Not finished: "
    return "Not all shards count: " if run.is_incomplete else ""


def _describe_outcomes(run: RunRecord) -> str:
    total, blocking = len(run.scenarios), [item for item in run.scenarios if item.blocks]
    if blocking:
        counts = describe_counts(sort_by_rank(count(item.outcome for item in blocking)))
        verb = "blocks" if len(blocking) == 1 else "block"
        return f"{len(blocking)} of {total} {_scenarios(total)} {verb}: {counts}"
    passed = sum(item.outcome.facts.effect == "passed" for item in run.scenarios)
    if passed == total:
        return f"All {total} scenarios passed" if total > 1 else "The scenario passed"
    others = (item.outcome for item in run.scenarios if item.outcome.facts.effect != "passed")
    counts = describe_counts(sort_by_rank(count(others)))
    return f"Nothing blocks: {passed} of {total} passed, {counts}"


def sort_by_rank(counts: Mapping[str, int]) -> list[tuple[Outcome, int]]:
    """Return the outcomes that occur and their numbers, the most urgent first."""
    return sorted(sort_counts(counts), key=lambda item: item[0].facts.rank)


def _scenarios(number: int) -> str:
    return "scenario" if number == 1 else "scenarios"


def list_identity(run: RunRecord) -> Iterator[tuple[str, str, str]]:
    """Yield what identifies a run: the name of a fact, its text, and an addition or an empty text.

    All are printable.
    """
    for name, text, addition in _list_identity(run):
        yield name, truncate(text, _MAX_LENGTH), truncate(addition, _MAX_LENGTH)


def _list_identity(run: RunRecord) -> Iterator[tuple[str, str, str]]:
    if run.binary:
        version = run.binary.version or PurePath(run.binary.path).name
        yield "binary", version, run.binary.sha256[:12]
    if run.repository:
        branch = wording.describe_branch(run.repository).lstrip(" ,")
        yield "commit", wording.format_commit(run.repository), branch
    yield "engine", run.engine, f"on {run.host}" if run.host else ""
    yield "started", f"{run.started_at:%Y-%m-%d %H:%M:%S}", f"{run.started_at:%z}"
    yield "duration", format_duration(run.seconds), _describe_concurrency(run)
    yield "run", run.id, f"rerun of {run.rerun_of}" if run.rerun_of else ""


def list_origins(run: RunRecord) -> Iterator[tuple[str, str]]:
    """Yield what was run and where, in full, as names and printable texts."""
    if run.binary:
        yield "binary", truncate(run.binary.path, _MAX_LENGTH)
        yield "sha256", escape_controls(run.binary.sha256)
        if run.binary.version:
            yield "version", truncate(run.binary.version, _MAX_LENGTH)
    if run.manifest:
        yield "manifest", truncate(str(run.manifest_path), _MAX_LENGTH)
    if run.repository and run.repository.commit:
        yield "commit", escape_controls(run.repository.commit)
    yield "directory", truncate(run.working, _MAX_LENGTH)
    if run.command:
        yield "command", truncate(quote_command(run.command), _MAX_LENGTH)
    if run.record:
        yield "record", truncate(run.record, _MAX_LENGTH)


def _describe_concurrency(run: RunRecord) -> str:
    """Return how much time all attempts together took."""
    together = sum(scenario.seconds for scenario in run.scenarios)
    return f"{format_duration(together)} of attempts" if together else ""


def format_duration(seconds: float) -> str:
    """Return a duration in seconds, or in minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.2f} s"


def list_notes(run: RunRecord) -> list[str]:
    """Return the notes of a run, printable."""
    return [truncate(note) for note in run.notes]


def describe_run(run: RunRecord) -> str:
    """Return the ID of a run, printable; `RUN` stands for a run without a record."""
    return escape_controls(run.id) or "RUN"


def describe_version(run: RunRecord) -> str:
    """Return the version of isosmoke that made the record."""
    return escape_controls(run.isosmoke)


def list_leftovers(run: RunRecord) -> tuple[str, ...]:
    """Return the leftovers whose removal could not be confirmed."""
    return wording.list_leftovers(run)
