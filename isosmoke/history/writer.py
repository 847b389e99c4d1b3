"""Writer for the record of a run in progress.

A run is a directory `.isosmoke/runs/ID`. Its header, `run.json`, is written at the start of the run
and again at its end. `NAME/result.json` is written when scenario NAME has finished, next to its
logs. Each file is written atomically, so the record of a killed run can be read as well. Only the
end of a run waits until its results are on disk, no scenario does.
"""

from collections.abc import Iterable
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic

from isosmoke.dataclass import dataclass
from isosmoke.errors import EngineError
from isosmoke.history import gate_records, layout
from isosmoke.history.layout import HEADER, LEASE, RESULT, RUNS
from isosmoke.history.retention import remove_old_runs
from isosmoke.host import files
from isosmoke.host.leases import Lease
from isosmoke.manifest.models import Retention, Scenario
from isosmoke.results.records import creation
from isosmoke.results.records.record_base import render_json
from isosmoke.results.run_results import RunResult, ScenarioResult
from isosmoke.worker_threads import Workers

_LOCK = ".lock"

_WRITERS = 4
"""The number of results that are written concurrently: file systems commit them together."""


@dataclass(slots=True)
class Recording:
    """The record of a run in progress.

    `write_error` is the first error that left the record incomplete, or empty. Such an error
    changes no verdict. `notes` name old records that exceed the limits but could not be removed.
    `seconds` is the time that it took to write each result.
    """

    directory: Path
    notes: tuple[str, ...] = ()
    write_error: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    _saved: dict[str, ScenarioResult] = field(default_factory=dict)
    _writers: Workers = field(
        default_factory=lambda: Workers(_WRITERS, thread_name_prefix="record"), repr=False
    )
    _pending: dict[str, Future[None]] = field(default_factory=dict, repr=False)

    @property
    def home(self) -> Path:
        """The directory that holds the records of the project."""
        return self.directory.parent.parent

    def begin(self, run: RunResult, scenarios: Iterable[Scenario]) -> None:
        """Write the header with the planned scenarios, before any of them runs."""
        self._write_header(run, scenarios, finished=False)

    def keep(self, result: ScenarioResult) -> None:
        """Write the result of one scenario, later than this call returns."""
        self._saved[result.name] = result
        self.write_error = self.write_error or next(
            (attempt.unlogged for attempt in result.attempts if attempt.unlogged), ""
        )
        earlier = self._pending.get(result.name)
        try:
            written = self._writers.submit(self._write_result, result, earlier)
        except EngineError:  # no thread can start
            self._write_result(result, earlier)
        else:
            self._pending[result.name] = written
            written.add_done_callback(partial(self._forget, result.name))

    def _forget(self, name: str, written: Future[None]) -> None:
        if self._pending.get(name) is written and written.exception() is None:
            self._pending.pop(name, None)

    def _write_result(self, result: ScenarioResult, earlier: Future[None] | None) -> None:
        """Write a result after an `earlier` one of the same scenario."""
        if earlier is not None:
            wait([earlier])
        started_at = monotonic()
        self._write(Path(result.name) / RESULT, render_json(creation.record_scenario(result)))
        self.seconds[result.name] = monotonic() - started_at

    def wait(self) -> None:
        """Wait until all results are on disk, or could not be written."""
        for written in tuple(self._pending.values()):
            written.result()

    def end(self, run: RunResult) -> None:
        """Write the remaining results, and mark the run as finished."""
        for result in run.scenarios:
            if self._saved.get(result.name) is not result:
                self.keep(result)
        self.wait()
        self._writers.shutdown()
        self._write_header(run, (result.scenario for result in run.scenarios), finished=True)
        self.close()

    def close(self) -> None:
        """Mark the process of the run as ended."""
        with suppress(OSError):
            (self.directory / LEASE).unlink(missing_ok=True)

    def _write_header(
        self, run: RunResult, scenarios: Iterable[Scenario], *, finished: bool
    ) -> None:
        self._write(Path(HEADER), creation.render_header(run, scenarios, finished=finished))

    def _write(self, name: Path, text: str | Iterable[str]) -> None:
        path = self.directory / name
        try:
            path.parent.mkdir(exist_ok=True)
            files.write(path, text)
        except OSError as error:
            self.write_error = self.write_error or f"{path}: {error.strerror}"


def start_recording(
    top: Path, retention: Retention | None = None, *, kind: str = RUNS
) -> Recording:
    """Create the directory of a new run in the first writable home of a project.

    Remove old runs first, by the limits of `retention`. `kind` is the directory for all such runs.

    Raises:
        IsosmokeError: if no home is writable.
    """
    create = partial(_create, retention=retention or Retention(), kind=kind)
    return gate_records.save_in_first(layout.list_homes(top), create)


def _create(home: Path, retention: Retention, kind: str) -> Recording:
    runs = gate_records.create_directory(home, kind)
    with files.lock(runs / _LOCK):
        now = datetime.now(UTC)
        notes = remove_old_runs(runs, retention, now)
        directory = runs / layout.format_run_id(now)
        directory.mkdir()
        (directory / LEASE).write_text(str(Lease.current()))
    return Recording(directory, notes)
