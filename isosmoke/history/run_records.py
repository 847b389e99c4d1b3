"""The runs of the past: how each is kept on disk, read and found again, and when it is forgotten.

A run is a folder `.isosmoke/runs/ID`: `run.json` is its header, written when it starts and again
at its end; `NAME/result.json` comes as soon as scenario NAME is finished, beside its logs. Each
file is whole or missing, so a run that was killed can be read as well. IDs sort by time (UTC).
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from isosmoke.errors import NothingSelectedError, RecordError
from isosmoke.history import gate_records
from isosmoke.history.layout import HEADER, RUNS, folders, homes, runs_in, top
from isosmoke.host import files
from isosmoke.host.leases import Lease
from isosmoke.manifest.models import Retention, Scenario
from isosmoke.results import record
from isosmoke.results.attempts import RunResult, ScenarioResult
from isosmoke.results.outcome import count
from isosmoke.results.record import Header, Planned, RunRecord, ScenarioRecord
from isosmoke.text import meant

SCHEMA_VERSION = 1

LATEST = "latest"
"""The newest run, wherever one is named."""

_RESULT, _LEASE, _LOCK = "result.json", ".lease", ".lock"
_SECOND = "%Y%m%d-%H%M%S"

_Model = TypeVar("_Model", bound=BaseModel)


class Kept(Header):
    """A header as it lies on disk."""

    planned: tuple[Planned, ...]


class _Versioned(BaseModel):
    schema_version: int


@dataclass(frozen=True, slots=True)
class _Past:
    """A run of the past: how many whole days old, and its size in bytes."""

    folder: Path
    days: int
    size: int


@dataclass(slots=True)
class Recording:
    """The record of a run that goes on; `lost` says why the record is not whole, empty if it is.

    What cannot be written costs no verdict: the run goes on.
    """

    folder: Path
    lost: str = ""
    _kept: dict[str, ScenarioResult] = field(default_factory=dict)

    def begin(self, run: RunResult, scenarios: Iterable[Scenario]) -> None:
        """Say what will be run, before any of it is."""
        self._write_header(run, scenarios, finished=False)

    def keep(self, result: ScenarioResult) -> None:
        """Keep what came of one scenario."""
        self._kept[result.name] = result
        self.lost = self.lost or next((one.unlogged for one in result.attempts if one.unlogged), "")
        self._write(Path(result.name) / _RESULT, record.render(record.scenario(result)))

    def end(self, run: RunResult) -> None:
        """Say what came of the run, and that nothing more comes."""
        for one in run.scenarios:
            if self._kept.get(one.name) is not one:
                self.keep(one)
        self._write_header(run, (one.scenario for one in run.scenarios), finished=True)
        with suppress(OSError):
            (self.folder / _LEASE).unlink(missing_ok=True)

    def _write_header(
        self, run: RunResult, scenarios: Iterable[Scenario], *, finished: bool
    ) -> None:
        planned = tuple(map(record.planned, scenarios))
        fields = {**dict(record.of(run)), "planned": planned, "finished": finished}
        self._write(Path(HEADER), record.render(Kept(**fields)))

    def _write(self, name: Path, text: str) -> None:
        path = self.folder / name
        try:
            path.parent.mkdir(exist_ok=True)
            files.write(path, text)
        except OSError as error:
            self.lost = self.lost or f"{path}: {error.strerror}"


def start(top: Path, retention: Retention | None = None) -> Recording:
    """A new run's folder, in the first home of a project that takes it; old ones make room."""
    new = partial(_new, retention=retention or Retention())
    return Recording(gate_records.in_first(homes(top), new))


def runs(working: Path) -> tuple[RunRecord, ...]:
    """The runs of a project, newest first, without those that cannot be read."""
    return tuple(_readable(folders(working)))


def run(named: str | None, working: Path) -> RunRecord:
    """The run whose id begins or ends so; None and `latest` are the newest.

    Raises:
        NothingSelectedError: if there is none, or more than one.
        RecordError: if it cannot be read.
    """
    known = folders(working)
    if not known:
        raise _nothing(working)
    return load(known[0] if named in (None, LATEST) else _named(named, known))


def chain(named: str, working: Path) -> tuple[RunRecord, ...]:
    """A run, the run that it did again, and so on, as far back as they are kept.

    Raises:
        NothingSelectedError: if there is no such run, or more than one.
        RecordError: if one of them cannot be read.
    """
    found = [run(named, working)]
    others = {one.name: one for one in folders(working) if one.name != found[0].id}
    while before := others.pop(found[-1].rerun_of or "", None):
        found.append(load(before))
    return tuple(found)


def scenario(named: str, working: Path) -> tuple[RunRecord, ScenarioRecord]:
    """What `RUN/NAME` says of a scenario, or `NAME` in the newest run that had it.

    Raises:
        NothingSelectedError: if no such run, or no such scenario in it, is recorded.
        RecordError: if the run cannot be read.
    """
    *of_run, name = named.rsplit("/", maxsplit=1)
    if of_run:
        return _within(run(of_run[0], working), name)
    newest = next(_having(name, working), None)
    if newest is None:
        raise _unknown(name, working)
    return newest


def outcomes(name: str, working: Path) -> tuple[tuple[RunRecord, ScenarioRecord], ...]:
    """What each run that had a scenario says of it, newest first, but for those not to be read.

    Raises:
        NothingSelectedError: if none had it.
    """
    past = tuple(_having(name, working))
    if not past:
        raise _unknown(name, working)
    return past


def found(named: str | None, working: Path) -> tuple[RunRecord, ScenarioRecord | None]:
    """What is meant by `RUN/NAME`, by `NAME`, or else by `RUN`; None is the newest run.

    Raises:
        NothingSelectedError: if nothing is, or more than one run.
        RecordError: if the run cannot be read.
    """
    if named is None:
        return run(None, working), None
    if "/" in named or next(_having(named, working), None):
        return scenario(named, working)
    if named == LATEST or any(_is_named(one, named) for one in folders(working)):
        return run(named, working), None
    raise _unknown(named, working)


def log(run: RunRecord, scenario: ScenarioRecord, recorded: str) -> Path:
    """Where a log lies now, if it was `recorded` before the run's folder was moved."""
    return Path(run.record or "", scenario.name, Path(recorded).name)


def load(folder: Path) -> RunRecord:
    """The run that is recorded in a folder; of a run without an end, what was finished.

    Raises:
        RecordError: if there is none, if it is broken, or from a later version.
    """
    header = _header(folder)
    scenarios = tuple(_result(folder, header, one) for one in header.planned)
    fields = {**dict(header), "record": str(folder), "scenarios": scenarios}
    if not header.finished:
        fields |= {"counts": count(one.outcome for one in scenarios), "seconds": _until(scenarios)}
    return RunRecord(**fields)


def _new(home: Path, retention: Retention) -> Path:
    runs = gate_records.made(home, RUNS)
    with files.lock(runs / _LOCK):
        now = datetime.now(UTC)
        _forget(runs, retention, now)
        folder = runs / _id(now)
        folder.mkdir()
        (folder / _LEASE).write_text(str(Lease.mine()))
    return folder


def _id(now: datetime) -> str:
    """The time, in steps of a 65536th of a second."""
    return f"{now:{_SECOND}}-{now.microsecond * 65536 // 1_000_000:04x}"


def _forget(runs: Path, retention: Retention, now: datetime) -> None:
    """Make room for a new run; the last one before it stays, and so does any that goes on."""
    newest_first = sorted(runs_in(runs), reverse=True)
    past = [_Past(one, (now - _time(one)).days, _size(one)) for one in newest_first]
    for old in _excess(past, retention):
        if not _goes_on(old):
            with suppress(OSError):
                files.remove(old)


def _excess(past: Sequence[_Past], retention: Retention) -> Iterator[Path]:
    """What is too much, of runs that are told newest first, without the newest of them."""
    sizes = accumulate(one.size for one in past)
    for number, (one, size) in list(enumerate(zip(past, sizes, strict=True), start=2))[1:]:
        too_much = size > retention.keep_size or number > retention.keep_runs
        if too_much or one.days >= retention.keep_days:
            yield one.folder


def _time(folder: Path) -> datetime:
    return datetime.strptime(folder.name.rpartition("-")[0], _SECOND).replace(tzinfo=UTC)


def _size(folder: Path) -> int:
    """In bytes, as far as it can be seen; what a link leads to does not count."""
    pending, total = [os.fspath(folder)], 0
    while pending:
        with suppress(OSError), os.scandir(pending.pop()) as entries:
            for one in entries:
                if one.is_dir(follow_symlinks=False):
                    pending.append(one.path)
                else:
                    total += one.stat(follow_symlinks=False).st_size
    return total


def _goes_on(folder: Path) -> bool:
    with suppress(OSError):
        lease = Lease.parse((folder / _LEASE).read_text(errors="replace"))
        return lease is not None and lease.is_alive()
    return False


def _header(folder: Path) -> Kept:
    file = folder / HEADER
    if _read(file, _Versioned).schema_version != SCHEMA_VERSION:
        raise RecordError(f"{file} was written by a later isosmoke", "update isosmoke")
    return _read(file, Kept)


def _result(folder: Path, header: Kept, plan: Planned) -> ScenarioRecord:
    file = folder / plan.name / _RESULT
    if file.exists():
        return _read(file, ScenarioRecord)
    return record.not_run(plan, _why_missing(folder, finished=header.finished))


def _why_missing(folder: Path, *, finished: bool) -> str:
    if finished:
        return "its result could not be kept"
    return "the run goes on" if _goes_on(folder) else "the run ended before it"


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
    """When the last attempt ended, counted from the start of the run."""
    ends = [one.begun + one.seconds for scenario in scenarios for one in scenario.attempts]
    return round(max(ends, default=0.0), 3)


def _readable(folders: Sequence[Path]) -> Iterator[RunRecord]:
    for folder in folders:
        with suppress(RecordError):
            yield load(folder)


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
    for folder in folders(working):
        with suppress(RecordError):
            if any(one.name == name for one in _header(folder).planned):
                yield _within(load(folder), name)


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
    if not folders(working):
        return _nothing(working)
    names = list(dict.fromkeys(one.name for run in runs(working) for one in run.scenarios))
    return NothingSelectedError(
        f"no run had a scenario {name!r}{meant(name, names)}", "`isosmoke runs` lists the runs"
    )


def _nothing(working: Path) -> NothingSelectedError:
    return NothingSelectedError(
        f"no run is recorded in {homes(top(working))[0]}",
        "change to the folder of the project, or record one with `isosmoke run`",
    )
