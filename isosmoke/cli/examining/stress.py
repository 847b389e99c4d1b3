"""Repeat a scenario many times, and measure how often it fails."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from time import monotonic

import click
from rich.live import Live
from rich.text import Text as Line

from isosmoke.cli.console import Printer
from isosmoke.cli.json_documents import DocumentKind
from isosmoke.cli.options import json_option, manifest_option, select_one
from isosmoke.cli.running import EngineOptions, build_repeat_command, engine_options
from isosmoke.errors import ExitCode, UsageError
from isosmoke.execution import session
from isosmoke.execution.concurrency.machine import count_cores
from isosmoke.execution.preflight import Preflight
from isosmoke.execution.scheduler import Policy
from isosmoke.execution.session import Request
from isosmoke.history import layout, writer
from isosmoke.history.writer import Recording
from isosmoke.host import files
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt, interruptible
from isosmoke.investigation.repetition import stress_record, stress_wording
from isosmoke.investigation.repetition.stress import STRESS, Stress, StressLimits
from isosmoke.investigation.repetition.stress_record import StressDocument, StressOrigin
from isosmoke.investigation.repetition.tally import Repetition
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.reports import agent
from isosmoke.results import run_record
from isosmoke.results.run_record import BinaryRecord
from isosmoke.rootfs_images import store
from isosmoke.text import escape_controls

DOCUMENTS = {
    "stress": DocumentKind("stress NAME --json", StressDocument),
}
"""The kinds of JSON documents that this command writes."""

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)(s|m|h)")
_UNITS = {"s": 1, "m": 60, "h": 3600}
_RECORD_EVERY_SECONDS = 5.0


def _parse_duration(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    match = _DURATION.fullmatch(text)
    if match is None or not float(match[1]):
        raise click.BadParameter(f"{text!r} is not a duration: write 30s, 10m or 2h")
    return float(match[1]) * _UNITS[match[2]]


@click.command()
@click.argument("name")
@click.option(
    "--count", type=click.IntRange(min=1), metavar="N", help="Repeat NAME N times.  [default: 100]"
)
@click.option(
    "--for",
    "seconds",
    metavar="TIME",
    callback=_parse_duration,
    help="Repeat NAME for this time, such as 30s, 10m or 2h.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 1000),
    help="Run this many repetitions at once.  [default: one per core]",
)
@click.option("--max-fail", type=click.IntRange(min=1), metavar="N", help="Stop after N failures.")
@manifest_option()
@engine_options
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
    binary: str | None,
    engine: str,
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
    tested = EngineOptions(binary=binary, engine=engine)
    caller = Caller.current()
    is_terse = as_json or agent.is_agent(caller.environment)
    with interruptible() as interrupt:
        document = _Command(manifest, scenario, tested, limits, interrupt).run(
            caller, is_terse=is_terse
        )
    if as_json:
        click.echo(run_record.render(document), nl=False)
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

    def run(self, caller: Caller, *, is_terse: bool) -> StressDocument:
        """Run it, and return its document."""
        request = Request(
            scenarios=(self.scenario,),
            manifest=self.manifest.path,
            binary=self.tested.binary,
            engine=self.tested.engine,
            policy=Policy(evidence="never"),
        )
        started = datetime.now().astimezone()
        with store.images_in_use([self.scenario.image]):
            preflight = session.run_preflight(request, caller, self.interrupt)
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
            binary=BinaryRecord(path=str(tested.source), sha256=tested.sha256) if tested else None,
            manifest=str(self.manifest.path),
            record=str(recording.directory),
        )


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
            files.write(path, run_record.render(document))
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
    console = Printer(stderr=True)

    def show(repetition: Repetition) -> None:
        attempt = repetition.attempt
        if attempt.outcome.blocks and not is_terse:
            line = f"{attempt.outcome} repetition {repetition.number}: {attempt.reason}"
            console.print(Line(escape_controls(line)))

    if is_terse or not console.is_live:
        yield show
        return
    render = partial(_render_progress, stress)
    with Live(console=console, get_renderable=render, transient=True):
        yield show


def _render_progress(stress: Stress) -> Line:
    tally = stress.tally
    return Line(f"{tally.runs} repetitions, {tally.failed} failed, {stress.seconds:.0f} s")


def _select_exit_code(document: StressDocument, interrupt: Interrupt) -> ExitCode:
    """Return the exit code: a failure blocks, and without a run nothing was measured."""
    if interrupt.is_raised:
        is_term = interrupt.reason == "SIGTERM"
        return ExitCode.TERMINATED if is_term else ExitCode.INTERRUPTED
    if document.rate.failed:
        return ExitCode.BLOCKED
    if document.broken or document.dirty:
        return ExitCode.INFRASTRUCTURE
    return ExitCode.OK if document.rate.runs else ExitCode.ALL_SKIPPED
