"""Reader for the records of past runs, including runs that were killed."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from isosmoke.errors import NothingSelectedError, RecordError
from isosmoke.history.layout import HEADER, RESULT, homes, is_running, list_folders, top
from isosmoke.results import run_record
from isosmoke.results.outcome import count
from isosmoke.results.run_record import Header, Planned, RunRecord, ScenarioRecord
from isosmoke.text import meant

SCHEMA_VERSION = 1

LATEST = "latest"
"""The name of the newest run on the command line."""

_Model = TypeVar("_Model", bound=BaseModel)


class Kept(Header):
    """The stored header of a run, with the planned scenarios."""

    planned: tuple[Planned, ...]


class _Versioned(BaseModel):
    schema_version: int


def list_runs(working: Path) -> tuple[RunRecord, ...]:
    """Return the runs of a project, newest first, skipping those that cannot be read."""
    return tuple(_load_readable(list_folders(working)))


def find_run(named: str | None, working: Path) -> RunRecord:
    """Return the run whose ID begins or ends with `named`; None and `latest` mean the newest.

    Raises:
        NothingSelectedError: if no run matches, or more than one.
        RecordError: if the run cannot be read.
    """
    known = list_folders(working)
    if not known:
        raise _describe_no_runs(working)
    return load_run(known[0] if named in (None, LATEST) else _select_directory(named, known))


def find_rerun_chain(named: str, working: Path) -> tuple[RunRecord, ...]:
    """Return a run, the run that it reran, and so on, as far back as records exist.

    Raises:
        NothingSelectedError: if no run matches, or more than one.
        RecordError: if one of them cannot be read.
    """
    chain = [find_run(named, working)]
    others = {
        directory.name: directory
        for directory in list_folders(working)
        if directory.name != chain[0].id
    }
    while previous := others.pop(chain[-1].rerun_of or "", None):
        chain.append(load_run(previous))
    return tuple(chain)


def find_scenario(named: str, working: Path) -> tuple[RunRecord, ScenarioRecord]:
    """Return the result of scenario `RUN/NAME`, or of `NAME` in the newest run that includes it.

    Raises:
        NothingSelectedError: if no such run, or no such scenario in it, is recorded.
        RecordError: if the run cannot be read.
    """
    *run, name = named.rsplit("/", maxsplit=1)
    if run:
        return _select_scenario(find_run(run[0], working), name)
    newest = next(_find_results(name, working), None)
    if newest is None:
        raise _describe_unknown(name, working)
    return newest


def list_outcomes(name: str, working: Path) -> tuple[tuple[RunRecord, ScenarioRecord], ...]:
    """Return the results of a scenario, newest run first, skipping runs that cannot be read.

    Raises:
        NothingSelectedError: if no run includes it.
    """
    results = tuple(_find_results(name, working))
    if not results:
        raise _describe_unknown(name, working)
    return results


def find_run_or_scenario(
    named: str | None, working: Path
) -> tuple[RunRecord, ScenarioRecord | None]:
    """Return the scenario that `RUN/NAME` or `NAME` names, or else run `RUN`.

    None means the newest run.

    Raises:
        NothingSelectedError: if nothing matches, or more than one run.
        RecordError: if the run cannot be read.
    """
    if named is None:
        return find_run(None, working), None
    if "/" in named or next(_find_results(named, working), None):
        return find_scenario(named, working)
    if named == LATEST or any(_is_match(directory, named) for directory in list_folders(working)):
        return find_run(named, working), None
    raise _describe_unknown(named, working)


def locate_log(run: RunRecord, scenario: ScenarioRecord, recorded: str) -> Path:
    """Return the current path of a `recorded` log; the directory of a run may have been moved."""
    return Path(run.record or "", scenario.name, Path(recorded).name)


def load_run(directory: Path) -> RunRecord:
    """Return the run that is recorded in a directory; an unfinished run has the results so far.

    Raises:
        RecordError: if the record is missing, invalid, or from a later version.
    """
    header = _load_header(directory)
    scenarios = tuple(_load_result(directory, header, plan) for plan in header.planned)
    fields = {**dict(header), "record": str(directory), "scenarios": scenarios}
    if not header.finished:
        fields |= {
            "counts": count(scenario.outcome for scenario in scenarios),
            "seconds": _find_end(scenarios),
        }
    return RunRecord(**fields)


def _load_header(directory: Path) -> Kept:
    file = directory / HEADER
    if _read(file, _Versioned).schema_version != SCHEMA_VERSION:
        raise RecordError(f"{file} was written by a newer isosmoke", "upgrade isosmoke")
    return _read(file, Kept)


def _load_result(directory: Path, header: Kept, plan: Planned) -> ScenarioRecord:
    try:
        return _read(directory / plan.name / RESULT, ScenarioRecord)
    except RecordError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
    return run_record.not_run(plan, _explain_missing(directory, finished=header.finished))


def _explain_missing(directory: Path, *, finished: bool) -> str:
    if finished:
        return "its result could not be saved"
    try:
        if is_running(directory):
            return "the run is still in progress"
    except OSError as error:
        return f"the run may still be in progress: {error.filename}: {error.strerror}"
    return "the run ended before this scenario"


def _read(file: Path, model: type[_Model]) -> _Model:
    hint = "name another run, or remove the directory of this one"
    try:
        return model.model_validate_json(file.read_bytes())
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


def _load_readable(directories: Sequence[Path]) -> Iterator[RunRecord]:
    for directory in directories:
        with suppress(RecordError):
            yield load_run(directory)


def _is_match(directory: Path, named: str) -> bool:
    return directory.name.startswith(named) or directory.name.endswith(named)


def _select_directory(named: str, known: Sequence[Path]) -> Path:
    matches = [directory for directory in known if _is_match(directory, named)]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        suggestion = meant(named, [directory.name for directory in known])
        raise NothingSelectedError(
            f"no run is named {named!r}{suggestion}", "run `isosmoke runs` to list the runs"
        )
    names = ", ".join(directory.name for directory in matches[:3])
    raise NothingSelectedError(
        f"{named!r} matches {len(matches)} runs: {names}...",
        "give more of the run's name; its end is the most specific part",
    )


def _find_results(name: str, working: Path) -> Iterator[tuple[RunRecord, ScenarioRecord]]:
    for directory in list_folders(working):
        with suppress(RecordError):
            if any(plan.name == name for plan in _load_header(directory).planned):
                yield _select_scenario(load_run(directory), name)


def _select_scenario(run: RunRecord, name: str) -> tuple[RunRecord, ScenarioRecord]:
    for scenario in run.scenarios:
        if scenario.name == name:
            return run, scenario
    names = [scenario.name for scenario in run.scenarios]
    raise NothingSelectedError(
        f"run {run.id} has no scenario {name!r}{meant(name, names)}",
        f"run `isosmoke show {run.id}` to list its scenarios",
    )


def _describe_unknown(name: str, working: Path) -> NothingSelectedError:
    if not list_folders(working):
        return _describe_no_runs(working)
    names = dict.fromkeys(scenario.name for run in list_runs(working) for scenario in run.scenarios)
    return NothingSelectedError(
        f"no run has a scenario {name!r}{meant(name, list(names))}",
        "run `isosmoke runs` to list the runs",
    )


def _describe_no_runs(working: Path) -> NothingSelectedError:
    return NothingSelectedError(
        f"no run is recorded in {homes(top(working))[0]}",
        "change to the project's directory, or record a run with `isosmoke run`",
    )
