"""Find and read the records of past runs, also of runs that were killed."""

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
"""What names the newest run on the command line."""

_Model = TypeVar("_Model", bound=BaseModel)


class Kept(Header):
    """The header of a run as it is stored, with the scenarios that were planned."""

    planned: tuple[Planned, ...]


class _Versioned(BaseModel):
    schema_version: int


def list_runs(working: Path) -> tuple[RunRecord, ...]:
    """Return the runs of a project, newest first, without those that cannot be read."""
    return tuple(_readable(list_folders(working)))


def find_run(named: str | None, working: Path) -> RunRecord:
    """Return the run whose ID begins or ends with `named`; None and `latest` mean the newest.

    Raises:
        NothingSelectedError: if there is none, or more than one.
        RecordError: if it cannot be read.
    """
    known = list_folders(working)
    if not known:
        raise _nothing(working)
    return load_run(known[0] if named in (None, LATEST) else _named(named, known))


def find_rerun_chain(named: str, working: Path) -> tuple[RunRecord, ...]:
    """Return a run, the run of which it is a rerun, and so on, as far back as they are kept.

    Raises:
        NothingSelectedError: if there is no such run, or more than one.
        RecordError: if one of them cannot be read.
    """
    found = [find_run(named, working)]
    others = {one.name: one for one in list_folders(working) if one.name != found[0].id}
    while before := others.pop(found[-1].rerun_of or "", None):
        found.append(load_run(before))
    return tuple(found)


def find_scenario(named: str, working: Path) -> tuple[RunRecord, ScenarioRecord]:
    """Return the result of scenario `RUN/NAME`, or of `NAME` in the newest run that had it.

    Raises:
        NothingSelectedError: if no such run, or no such scenario in it, is recorded.
        RecordError: if the run cannot be read.
    """
    *of_run, name = named.rsplit("/", maxsplit=1)
    if of_run:
        return _within(find_run(of_run[0], working), name)
    newest = next(_having(name, working), None)
    if newest is None:
        raise _unknown(name, working)
    return newest


def list_outcomes(name: str, working: Path) -> tuple[tuple[RunRecord, ScenarioRecord], ...]:
    """Return the results of a scenario, newest run first, without runs that cannot be read.

    Raises:
        NothingSelectedError: if none had it.
    """
    past = tuple(_having(name, working))
    if not past:
        raise _unknown(name, working)
    return past


def find_run_or_scenario(
    named: str | None, working: Path
) -> tuple[RunRecord, ScenarioRecord | None]:
    """Return what `RUN/NAME`, `NAME` or else `RUN` names; None means the newest run.

    Raises:
        NothingSelectedError: if nothing is, or more than one run.
        RecordError: if the run cannot be read.
    """
    if named is None:
        return find_run(None, working), None
    if "/" in named or next(_having(named, working), None):
        return find_scenario(named, working)
    if named == LATEST or any(_is_named(one, named) for one in list_folders(working)):
        return find_run(named, working), None
    raise _unknown(named, working)


def locate_log(run: RunRecord, scenario: ScenarioRecord, recorded: str) -> Path:
    """Return the path that a `recorded` log has now, as the directory of a run can be moved."""
    return Path(run.record or "", scenario.name, Path(recorded).name)


def load_run(folder: Path) -> RunRecord:
    """Return the run that is recorded in a directory; of one without an end, what was finished.

    Raises:
        RecordError: if there is none, if it is broken, or from a later version.
    """
    header = _header(folder)
    scenarios = tuple(_load_result(folder, header, one) for one in header.planned)
    fields = {**dict(header), "record": str(folder), "scenarios": scenarios}
    if not header.finished:
        fields |= {"counts": count(one.outcome for one in scenarios), "seconds": _until(scenarios)}
    return RunRecord(**fields)


def _header(folder: Path) -> Kept:
    file = folder / HEADER
    if _read(file, _Versioned).schema_version != SCHEMA_VERSION:
        raise RecordError(f"{file} was written by a later isosmoke", "update isosmoke")
    return _read(file, Kept)


def _load_result(folder: Path, header: Kept, plan: Planned) -> ScenarioRecord:
    try:
        return _read(folder / plan.name / RESULT, ScenarioRecord)
    except RecordError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
    return run_record.not_run(plan, _why_missing(folder, finished=header.finished))


def _why_missing(folder: Path, *, finished: bool) -> str:
    if finished:
        return "its result could not be kept"
    try:
        return "the run goes on" if is_running(folder) else "the run ended before it"
    except OSError as error:
        return f"the run may still go on: {error.filename}: {error.strerror}"


def _read(file: Path, model: type[_Model]) -> _Model:
    hint = "name another run, or remove its folder"
    try:
        return model.model_validate_json(file.read_bytes())
    except OSError as error:
        raise RecordError(f"{file}: {error.strerror}", hint) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise RecordError(f"{file} is not whole: {place}: {first['msg']}", hint) from error


def _until(scenarios: Sequence[ScenarioRecord]) -> float:
    """Return when the last attempt ended, in seconds since the start of the run."""
    ends = [one.begun + one.seconds for scenario in scenarios for one in scenario.attempts]
    return round(max(ends, default=0.0), 3)


def _readable(folders: Sequence[Path]) -> Iterator[RunRecord]:
    for folder in folders:
        with suppress(RecordError):
            yield load_run(folder)


def _is_named(folder: Path, named: str) -> bool:
    return folder.name.startswith(named) or folder.name.endswith(named)


def _named(named: str, known: Sequence[Path]) -> Path:
    found = [one for one in known if _is_named(one, named)]
    if len(found) == 1:
        return found[0]
    names = [one.name for one in known]
    if not found:
        wrong = f"no run is named {named!r}{meant(named, names)}"
        raise NothingSelectedError(wrong, "`isosmoke runs` lists them")
    raise NothingSelectedError(
        f"{len(found)} runs are named {named!r}: {', '.join(one.name for one in found[:3])}...",
        "say more of the name: its end tells most",
    )


def _having(name: str, working: Path) -> Iterator[tuple[RunRecord, ScenarioRecord]]:
    for folder in list_folders(working):
        with suppress(RecordError):
            if any(one.name == name for one in _header(folder).planned):
                yield _within(load_run(folder), name)


def _within(run: RunRecord, name: str) -> tuple[RunRecord, ScenarioRecord]:
    for one in run.scenarios:
        if one.name == name:
            return run, one
    names = [one.name for one in run.scenarios]
    raise NothingSelectedError(
        f"run {run.id} had no scenario {name!r}{meant(name, names)}",
        f"`isosmoke show {run.id}` shows what it had",
    )


def _unknown(name: str, working: Path) -> NothingSelectedError:
    if not list_folders(working):
        return _nothing(working)
    names = list(dict.fromkeys(one.name for run in list_runs(working) for one in run.scenarios))
    return NothingSelectedError(
        f"no run had a scenario {name!r}{meant(name, names)}", "`isosmoke runs` lists the runs"
    )


def _nothing(working: Path) -> NothingSelectedError:
    return NothingSelectedError(
        f"no run is recorded in {homes(top(working))[0]}",
        "change to the folder of the project, or record one with `isosmoke run`",
    )
