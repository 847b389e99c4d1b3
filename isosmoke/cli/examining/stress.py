"""Repeat a scenario many times, and measure how often it fails."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import click

from isosmoke.cli.console import PlainPrinter, create_printer
from isosmoke.cli.document_kinds import DocumentKind
from isosmoke.cli.options import json_option, manifest_option, parse_duration, select_one
from isosmoke.cli.running import (
    EngineOptions,
    build_repeat_command,
    engine_options,
    jobs_option,
    open_place,
    place_option,
)
from isosmoke.dataclass import dataclass
from isosmoke.errors import ExitCode, UsageError
from isosmoke.execution import session
from isosmoke.execution.concurrency.load_readings import count_cores
from isosmoke.execution.preflight import Preflight, run_preflight
from isosmoke.execution.request import Request
from isosmoke.execution.scheduler import Policy
from isosmoke.history import layout, writer
from isosmoke.history.writer import Recording
from isosmoke.host import files
from isosmoke.host.binary import Binary
from isosmoke.host.caller_process import Caller, is_agent
from isosmoke.interrupt import Interrupt, interruptible
from isosmoke.investigation.repetition import stress_record, stress_wording
from isosmoke.investigation.repetition.stress import STRESS, Stress, StressLimits
from isosmoke.investigation.repetition.stress_record import StressDocument, StressOrigin
from isosmoke.investigation.repetition.tally import Repetition
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.results.records.origin import BinaryRecord
from isosmoke.results.records.record_base import render_json
from isosmoke.rootfs_images import image_kinds
from isosmoke.text import Line, escape_controls

if TYPE_CHECKING:
    from isosmoke.execution.places.place import AttemptPlace

DOCUMENTS = {
    "stress": DocumentKind("stress NAME --json", StressDocument),
}
"""The kinds of JSON documents that this command writes."""

_RECORD_EVERY_SECONDS = 5.0


@click.command()
@click.argument("name")
@click.option(
    "--count", type=click.IntRange(min=1), metavar="N", help="Repeat NAME N times.  [default: 100]"
)
@click.option(
    "--for",
    "seconds",
    metavar="TIME",
    callback=parse_duration,
    help="Repeat NAME for this time, such as 30s, 10m or 2h.",
)
@jobs_option("Run this many repetitions at once.  [default: one per core]", 1000)
@click.option("--max-fail", type=click.IntRange(min=1), metavar="N", help="Stop after N failures.")
@manifest_option()
@engine_options
@place_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    name: str,
    count: int | None,
    seconds: float | None,
    jobs: int | None,
    max_fail: int | None,
    manifest_path: Path | None,
    tested: EngineOptions,
    place: str | None,
    as_json: bool,
) -> None:
    """Repeat the scenario NAME, each time in a fresh sandbox, and measure its failure rate.

    An interrupt ends it with the result so far. The rate has a 95% confidence interval, and what
    the failures have in common is listed. Nothing is retried.

    \b
    Exit codes: 0 none failed · 1 at least one failed · 77 all were skipped
    """  # noqa: D301 - click's marker for an unwrapped paragraph
    if count is not None and seconds is not None:
        raise UsageError("--count and --for cannot be combined", hint="pass only one of them")
    limits = StressLimits(
        count=100 if count is None and seconds is None else count,
        seconds=seconds,
        max_fail=max_fail,
        jobs=jobs or max(1, int(count_cores())),
    )
    manifest, scenario = select_one(name, manifest_path)
    caller = Caller.current()
    is_terse = as_json or is_agent(caller.environment)
    with (
        interruptible() as interrupt,
        open_place(place, manifest.path, caller, interrupt) as chosen,
    ):
        if chosen is not None and jobs is None:
            limits = replace(limits, jobs=chosen.slots)
        document = _Command(manifest, scenario, tested, limits, interrupt, chosen).run(
            caller, is_terse=is_terse
        )
    if as_json:
        click.echo(render_json(document), nl=False)
    else:
        repeat = build_repeat_command(manifest_path, tested, name)
        for line in stress_wording.render(document, repeat):
            click.echo(escape_controls(line))
    ctx.exit(_select_exit_code(document, interrupt))


@dataclass(frozen=True, slots=True)
class _Command:
    """A stress run with its record; the record is rewritten every few seconds."""

    manifest: Manifest
    scenario: Scenario
    tested: EngineOptions
    limits: StressLimits
    interrupt: Interrupt
    place: "AttemptPlace | None" = None

    def run(self, caller: Caller, *, is_terse: bool) -> StressDocument:
        """Run it, and return its document."""
        request = Request(
            scenarios=(self.scenario,),
            manifest=self.manifest.path,
            binary=self.tested.binary,
            engine=self.tested.engine,
            policy=Policy(evidence="never"),
            place=self.place,
            recalls=True,
        )
        started = datetime.now().astimezone()
        with image_kinds.images_in_use([self.scenario.image]):
            preflight = run_preflight(request, caller, self.interrupt)
            recording = _start_recording(preflight, self.manifest)
            origin = self._describe(preflight, recording, started)
            record = _Record(recording, origin)
            stress = Stress(
                scenario=self.scenario,
                attempts=session.create_attempt_runner(preflight, request, recording.directory),
                limits=self.limits,
                interrupt=self.interrupt,
                notify=lambda _: None,
            )
            with _display(stress, is_terse=is_terse) as show:
                stress.notify = partial(_notify, stress, record, show)
                stress.run()
        return record.end(stress)

    def _describe(
        self, preflight: Preflight, recording: Recording, started: datetime
    ) -> StressOrigin:
        tested = preflight.context.binary
        return StressOrigin(
            name=self.scenario.name,
            started_at=started,
            engine=preflight.engines.names,
            binary=None if tested is None else _record_binary(tested, preflight.binary_version),
            manifest=str(self.manifest.path),
            record=str(recording.directory),
        )


def _record_binary(tested: Binary, version: str) -> BinaryRecord:
    return BinaryRecord(path=str(tested.source), sha256=tested.sha256, version=version or None)


def _start_recording(preflight: Preflight, manifest: Manifest) -> Recording:
    top = layout.find_top(preflight.context.workspace.working)
    return writer.start_recording(top, manifest.record, kind=STRESS)


@dataclass(slots=True)
class _Record:
    """The record of a stress run; one that cannot be written changes no verdict."""

    recording: Recording
    origin: StressOrigin
    written_at: float = 0.0
    error: str = ""

    def update(self, stress: Stress) -> None:
        """Write the result so far, unless that was done a moment ago."""
        if monotonic() - self.written_at >= _RECORD_EVERY_SECONDS:
            self._write(stress_record.create_document(stress, self.origin, finished=False))
            self.written_at = monotonic()

    def end(self, stress: Stress) -> StressDocument:
        """Write the result and return it."""
        document = stress_record.create_document(stress, self.origin, finished=True)
        self._write(document)
        self.recording.close()
        if self.error:
            message = f"WARNING: the record of this run is incomplete: {self.error}"
            click.echo(escape_controls(message), err=True)
        return document

    def _write(self, document: StressDocument) -> None:
        path = self.recording.directory / f"{STRESS}.json"
        try:
            files.write(path, render_json(document))
        except OSError as error:
            self.error = self.error or f"{path}: {error.strerror}"


def _notify(
    stress: Stress, record: _Record, show: Callable[[Repetition], None], repetition: Repetition
) -> None:
    record.update(stress)
    show(repetition)


@contextmanager
def _display(stress: Stress, *, is_terse: bool) -> Iterator[Callable[[Repetition], None]]:
    """Show failures on stderr as they occur, and on a terminal the counts so far."""
    console = create_printer(stderr=True)

    def show(repetition: Repetition) -> None:
        attempt = repetition.attempt
        if attempt.outcome.blocks and not is_terse:
            line = f"{attempt.outcome} repetition {repetition.number}: {attempt.reason}"
            console.print(Line(escape_controls(line)))

    if is_terse or isinstance(console, PlainPrinter) or not console.is_live:
        yield show
        return
    from rich.live import Live

    render = partial(_render_progress, stress)
    with Live(console=console, get_renderable=render, transient=True):
        yield show


def _render_progress(stress: Stress) -> Line:
    tally = stress.tally
    return Line(f"{tally.runs} repetitions, {tally.failed} failed, {stress.seconds:.0f} s")


def _select_exit_code(document: StressDocument, interrupt: Interrupt) -> ExitCode:
    """Return the exit code: a failure blocks, and without a run nothing was measured."""
    if interrupt.is_raised:
        return interrupt.exit_code
    if document.rate.failed:
        return ExitCode.BLOCKED
    if document.broken or document.dirty:
        return ExitCode.INFRASTRUCTURE
    return ExitCode.OK if document.rate.runs else ExitCode.ALL_SKIPPED
