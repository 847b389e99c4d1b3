"""The option `--report KIND[=FILE]`: the display of a run and the report files it produces."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Literal, TypeVar

import click

from isosmoke.cli import silence_broken_streams
from isosmoke.cli.report_files import STDOUT, LineFile, render, resolve_target, write
from isosmoke.dataclass import dataclass
from isosmoke.errors import ExitCode, UsageError
from isosmoke.reports import REPORTS
from isosmoke.results.events import Event
from isosmoke.results.records import creation
from isosmoke.results.run_record import RunRecord
from isosmoke.results.run_results import RunResult
from isosmoke.text import escape_controls, suggest_match

Screen = Literal["console", "agent"]
Shown = TypeVar("Shown")

SCREENS: tuple[Screen, ...] = ("console", "agent")
GITHUB = "github"

report_option = click.option(
    "--report",
    "reports",
    multiple=True,
    metavar="KIND[=FILE]",
    help=(
        "Set the display to console or agent (default: agent if a coding agent is detected), or "
        f"also write a report: {'=, '.join(REPORTS)}=FILE (- is stdout) or github; repeatable."
    ),
)


@dataclass(frozen=True, slots=True)
class Report:
    """A kind of report and its file: `-` for stdout, empty if the kind takes none."""

    kind: str
    file: str = ""

    @property
    def option_value(self) -> str:
        """The value of `--report` that requests this report."""
        return f"{self.kind}={self.file}" if self.file else self.kind


@dataclass(frozen=True, slots=True)
class ReportChoice:
    """The requested display and reports; if `screen` is None, the environment decides.

    If `stdout_taken` is true, stdout is one document and all other output goes to stderr. If
    `has_command` is true, stdout is for the output of the command after `--`.
    """

    screen: Screen | None = None
    reports: tuple[Report, ...] = ()
    stdout_taken: bool = False
    has_command: bool = False

    @property
    def messages_on_stderr(self) -> bool:
        """True if isosmoke's own lines go to stderr."""
        return self.stdout_taken or self.has_command


def parse_reports(
    values: Iterable[str], *, stdout_taken: bool = False, has_command: bool = False
) -> ReportChoice:
    """Parse the values of `--report`; `stdout_taken` says that stdout already has a document.

    `has_command` says that stdout is for the output of a command after `--`.

    Raises:
        UsageError: For an unknown kind, a missing or superfluous file, two reports for one file,
            or a file that a link in a repository moves out of it.
    """
    reports = [_parse_report(value) for value in values]
    screens = [screen for screen in SCREENS if Report(screen) in reports]
    if len(screens) > 1:
        raise UsageError(
            "--report console and --report agent cannot be combined", hint="pass only one of them"
        )
    file_reports = tuple(dict.fromkeys(report for report in reports if report.kind not in SCREENS))
    files = [
        *([STDOUT] if stdout_taken else []),
        *(report.file for report in file_reports if report.file),
    ]
    for file in files:
        if files.count(file) > 1:
            name = "stdout" if file == STDOUT else file
            raise UsageError(
                f"two documents would be written to {name}", hint="give each document its own file"
            )
        if file != STDOUT:
            resolve_target(file)
    screen = next(iter(screens), None)
    return ReportChoice(screen, file_reports, STDOUT in files, has_command)


def _parse_report(value: str) -> Report:
    kind, _, file = value.partition("=")
    if kind in REPORTS and not file:
        raise UsageError(
            f"--report {kind} requires a file", hint=f"--report {kind}=FILE, or --report {kind}=-"
        )
    if kind in (*SCREENS, GITHUB) and "=" in value:
        raise UsageError(f"--report {kind} takes no file", hint=f"--report {kind}")
    known = (*SCREENS, *REPORTS, GITHUB)
    if kind not in known:
        raise UsageError(
            f"unknown report kind {kind!r}{suggest_match(kind, known)}",
            hint=f"use {', '.join(known)}",
        )
    return Report(kind, file)


def show_github(run: RunRecord, environment: Mapping[str, str], *, err: bool = False) -> None:
    """Print annotations, and append to the step summary if GITHUB_STEP_SUMMARY names its file."""
    from isosmoke.reports import github

    top = environment.get("GITHUB_WORKSPACE") or run.working
    click.echo(github.render_annotations(run, top), nl=False, err=err)
    step_summary = environment.get("GITHUB_STEP_SUMMARY")
    if step_summary:
        with Path(step_summary).open("ab") as file:
            file.write(github.render_summary(run, github.MAX_SUMMARY_BYTES - file.tell()).encode())


@dataclass(slots=True)
class Reporting:
    """The reports of one run: event lines during it, all other files at its end.

    A file that cannot be written is named on stderr; it affects neither the run nor other reports.
    `unread` has the descriptors, 1 or 2, whose reader has gone.
    """

    choice: ReportChoice
    environment: Mapping[str, str]
    failed: bool = False
    unread: set[int] = field(default_factory=set)
    _display_error: OSError | None = None
    _lines: dict[Report, LineFile] = field(default_factory=dict)
    _streams: list[Callable[[Event], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for report in self.choice.reports:
            if report.kind == "jsonl":
                from isosmoke.reports.jsonl import write_events

                self._lines[report] = LineFile(report.file)
                self._streams.append(write_events(self._lines[report]))

    def create_notifier(self, screen: Callable[[Event], None]) -> Callable[[Event], None]:
        """Return a function that passes events to `screen` and to the event streams."""
        show = self.tolerate_errors(screen)

        def notify(event: Event) -> None:
            show(event)
            for stream in self._streams:
                stream(event)

        return notify

    def tolerate_errors(self, show: Callable[[Shown], object]) -> Callable[[Shown], None]:
        """Wrap `show` so that an unwritable stdout or stderr is reported only after the run."""

        def show_safely(shown: Shown) -> None:
            try:
                show(shown)
            except OSError as error:
                self._display_error = error
                self.unread.update(silence_broken_streams())

        return show_safely

    def finish(self, result: RunResult | None, *, timings: bool = False) -> None:
        """Write every report of a run, or print that there is none if nothing was run.

        With `timings`, print the time of each step first.
        """
        if result is None:
            if self.choice.reports:
                click.echo("no report was written: nothing was run", err=True)
            return
        is_shown = timings or self.choice.reports  # thousands of records take much memory
        run = creation.record_run(result) if is_shown else creation.record_problems(result)
        if timings:
            self.tolerate_errors(self._print_timings)(run)
        if self._display_error is not None:
            self._print_failure("this run", self._display_error, f"isosmoke show {run.id}")
        for report in self.choice.reports:
            try:
                self._write(report, run)
            except OSError as error:
                remedy = f"isosmoke report {run.id} --as {report.kind}"
                self._print_failure(f"the report {report.option_value}", error, remedy)

    def exit_code(self, code: ExitCode) -> ExitCode:
        """Return the run's exit code, but not success if a requested report is missing."""
        return ExitCode.INFRASTRUCTURE if self.failed and code is ExitCode.OK else code

    def _print_timings(self, run: RunRecord) -> None:
        from isosmoke.reports import timings

        click.echo(timings.render(run), nl=False, err=self.choice.messages_on_stderr)

    def _write(self, report: Report, run: RunRecord) -> None:
        if report.kind == GITHUB:
            show_github(run, self.environment, err=self.choice.messages_on_stderr)
        elif report in self._lines:
            self._lines[report].close()
        else:
            write(report.file, render(report.kind, run))

    def _print_failure(self, subject: str, error: OSError, remedy: str) -> None:
        self.failed = True
        reason = error.strerror or error
        click.echo(escape_controls(f"isosmoke: {subject} could not be written: {reason}"), err=True)
        click.echo(escape_controls(f"  try: {remedy}"), err=True)


def warn_if_unrecorded(run: RunResult) -> None:
    """Print a warning on stderr if part of a run could not be recorded."""
    if run.unrecorded:
        click.echo(
            escape_controls(f"WARNING: the record of this run is incomplete: {run.unrecorded}"),
            err=True,
        )
