"""Reader for the records of past runs, including runs that were killed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from isosmoke.dataclass import dataclass
from isosmoke.errors import NothingSelectedError, RecordError, UsageError
from isosmoke.history.layout import (
    HEADER,
    RESULT,
    find_top,
    is_running,
    list_demo_directories,
    list_homes,
    list_run_directories,
)
from isosmoke.host import files
from isosmoke.results.outcome import count
from isosmoke.results.records import creation, validation
from isosmoke.results.records.record_base import Record
from isosmoke.results.run_record import Planned, RunRecord, ScenarioRecord, StoredHeader
from isosmoke.text import restore_bytes, suggest_match

SCHEMA_VERSION = 1

LATEST = "latest"
"""The name of the newest run on the command line."""

Report = Callable[[RecordError], None]
"""A function that receives the error of an unreadable run."""

_Record = TypeVar("_Record", bound=Record)


@dataclass(frozen=True, kw_only=True)
class _Versioned(Record):
    schema_version: int


def load_runs(cwd: Path, report: Report) -> Iterator[RunRecord]:
    """Yield the runs of a project, newest first; report the error of each unreadable run.

    A run is read when it is requested.
    """
    yield from _load_each(list_run_directories(cwd), report)


def _load_each(directories: Iterable[Path], report: Report) -> Iterator[RunRecord]:
    for directory in directories:
        try:
            yield load_run(directory)
        except RecordError as error:
            report(error)


def fail(error: RecordError) -> None:
    """Raise an error, for results that an unreadable run could change."""
    raise error


def find_run(selector: str | None, cwd: Path) -> RunRecord:
    """Return the run whose ID begins or ends with `selector`; None and `latest` mean the newest.

    Raises:
        NothingSelectedError: if no run matches, or more than one.
        RecordError: if the run cannot be read.
    """
    return _find_among(list_run_directories(cwd), selector, cwd)


def find_run_or_demo(selector: str | None, cwd: Path) -> RunRecord:
    """Return a run of the project as `find_run` does, or else a run of `isosmoke demo`.

    Raises:
        NothingSelectedError: if no run matches, or more than one.
        RecordError: if the run cannot be read.
    """
    return _find_among(_list_shown(cwd), selector, cwd)


def _list_shown(cwd: Path) -> tuple[Path, ...]:
    """Return the directories of the project's runs, and after them those of the demo."""
    return (*list_run_directories(cwd), *list_demo_directories())


def _find_among(known: Sequence[Path], selector: str | None, cwd: Path) -> RunRecord:
    if not known:
        raise _describe_no_runs(cwd)
    return load_run(known[0] if selector in (None, LATEST) else _select_directory(selector, known))


def find_rerun_chain(selector: str, cwd: Path) -> tuple[RunRecord, ...]:
    """Return a run, the run that it reran, and so on, as far back as records exist.

    Raises:
        NothingSelectedError: if no run matches, or more than one.
        RecordError: if one of them cannot be read.
    """
    chain = [find_run(selector, cwd)]
    others = {
        directory.name: directory
        for directory in list_run_directories(cwd)
        if directory.name != chain[0].id
    }
    while previous := others.pop(chain[-1].rerun_of or "", None):
        chain.append(load_run(previous))
    return tuple(chain)


def find_scenario(selector: str, cwd: Path) -> tuple[RunRecord, ScenarioRecord]:
    """Return the result of scenario `RUN/NAME`, or of `NAME` in the newest run that includes it.

    Raises:
        NothingSelectedError: if no such run, or no such scenario in it, is recorded.
        RecordError: if the run cannot be read, or one that is as new and may include `NAME`.
    """
    *run, name = selector.rsplit("/", maxsplit=1)
    if run:
        return _select_scenario(find_run_or_demo(run[0], cwd), name)
    newest = next(_find_results(name, cwd, fail), None)
    if newest is None:
        raise _describe_unknown(name, cwd)
    return newest


def list_outcomes(
    name: str, cwd: Path, report: Report
) -> tuple[tuple[RunRecord, ScenarioRecord], ...]:
    """Return the results of a scenario, newest run first; report the error of each unreadable run.

    Raises:
        NothingSelectedError: if no run includes it.
    """
    results = tuple(_find_results(name, cwd, report))
    if not results:
        raise _describe_unknown(name, cwd)
    return results


def find_run_or_scenario(
    selector: str | None, cwd: Path
) -> tuple[RunRecord, ScenarioRecord | None]:
    """Return the scenario that `RUN/NAME` or `NAME` names, or else run `RUN`.

    None means the newest run.

    Raises:
        NothingSelectedError: if nothing matches, or more than one run.
        RecordError: if the run cannot be read.
    """
    if selector is None:
        return find_run_or_demo(None, cwd), None
    is_run = "/" not in selector and (
        selector == LATEST or any(_is_match(directory, selector) for directory in _list_shown(cwd))
    )
    if is_run and not any(_find_results(selector, cwd, _ignore)):
        return find_run_or_demo(selector, cwd), None
    return find_scenario(selector, cwd)


def locate_log(run: RunRecord, scenario: ScenarioRecord, recorded: str) -> Path:
    """Return the current path of a `recorded` log; the directory of a run may have been moved."""
    return Path(restore_bytes(run.record or ""), scenario.name, Path(recorded).name)


def load_run(directory: Path) -> RunRecord:
    """Return the run that is recorded in a directory; an unfinished run has the results so far.

    Raises:
        RecordError: if the record is missing, invalid, or from a later version.
    """
    return load_results(directory, load_header(directory))


def load_results(directory: Path, header: StoredHeader) -> RunRecord:
    """Return the run whose header was read from a directory; see `load_run`."""
    scenarios = tuple(_load_result(directory, header, plan) for plan in header.planned)
    run = creation.complete(header, directory, scenarios)
    if header.finished:
        return run
    counts = count(scenario.outcome for scenario in scenarios)
    return replace(run, counts=counts, seconds=_find_end(scenarios))


def load_header(directory: Path) -> StoredHeader:
    """Return the header of the run in a directory.

    Raises:
        RecordError: if it is missing, invalid, or from a later version.
    """
    file = directory / HEADER
    if _read(file, _Versioned).schema_version != SCHEMA_VERSION:
        raise RecordError(f"{file} was written by a newer isosmoke", "upgrade isosmoke")
    return _read(file, StoredHeader)


def _load_result(directory: Path, header: StoredHeader, plan: Planned) -> ScenarioRecord:
    try:
        return _read(directory / plan.name / RESULT, ScenarioRecord)
    except RecordError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
    return creation.record_not_run(plan, _explain_missing(directory, finished=header.finished))


def _explain_missing(directory: Path, *, finished: bool) -> str:
    if finished:
        return "its result could not be saved"
    try:
        if is_running(directory):
            return "the run is still in progress"
    except OSError as error:
        return f"the run may still be in progress: {error.filename}: {error.strerror}"
    return "the run ended before this scenario"


def _read(file: Path, record: type[_Record]) -> _Record:
    hint = "name another run, or remove the directory of this one"
    try:
        files.refuse_links(file.parent, file)
        return validation.parse(record, files.read(file, follow=False))
    except UsageError as error:
        raise RecordError(error.message, hint) from error
    except OSError as error:
        raise RecordError(f"{file}: {error.strerror}", hint) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise RecordError(f"{file} is invalid: {field}: {first['msg']}", hint) from error


def _find_end(scenarios: Sequence[ScenarioRecord]) -> float:
    """Return the end of the last attempt, in seconds since the start of the run."""
    attempts = (attempt for scenario in scenarios for attempt in scenario.attempts)
    return round(max((attempt.begun + attempt.seconds for attempt in attempts), default=0.0), 3)


def _is_match(directory: Path, selector: str) -> bool:
    return directory.name.startswith(selector) or directory.name.endswith(selector)


def _select_directory(selector: str, known: Sequence[Path]) -> Path:
    matches = [directory for directory in known if _is_match(directory, selector)]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        suggestion = suggest_match(selector, [directory.name for directory in known])
        raise NothingSelectedError(
            f"no run is named {selector!r}{suggestion}", "run `isosmoke runs` to list the runs"
        )
    names = ", ".join(directory.name for directory in matches[:3])
    raise NothingSelectedError(
        f"{selector!r} matches {len(matches)} runs: {names}...",
        "give more of the run's name; its end is the most specific part",
    )


def _find_results(
    name: str, cwd: Path, report: Report
) -> Iterator[tuple[RunRecord, ScenarioRecord]]:
    for directory in _list_shown(cwd):
        try:
            if any(plan.name == name for plan in load_header(directory).planned):
                yield _select_scenario(load_run(directory), name)
        except RecordError as error:
            report(error)


def _ignore(_: RecordError) -> None:
    """Ignore an unreadable run, where another message names it."""


def _select_scenario(run: RunRecord, name: str) -> tuple[RunRecord, ScenarioRecord]:
    for scenario in run.scenarios:
        if scenario.name == name:
            return run, scenario
    names = [scenario.name for scenario in run.scenarios]
    raise NothingSelectedError(
        f"run {run.id} has no scenario {name!r}{suggest_match(name, names)}",
        f"run `isosmoke show {run.id}` to list its scenarios",
    )


def _describe_unknown(name: str, cwd: Path) -> NothingSelectedError:
    if not (shown := _list_shown(cwd)):
        return _describe_no_runs(cwd)
    names = dict.fromkeys(
        scenario.name for run in _load_each(shown, _ignore) for scenario in run.scenarios
    )
    return NothingSelectedError(
        f"no run has a scenario {name!r}{suggest_match(name, list(names))}",
        "run `isosmoke runs` to list the runs",
    )


def _describe_no_runs(cwd: Path) -> NothingSelectedError:
    return NothingSelectedError(
        f"no run is recorded in {list_homes(find_top(cwd))[0]}",
        "change to the project's directory, or record a run with `isosmoke run`",
    )
