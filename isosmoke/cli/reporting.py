"""`--report KIND[=FILE]`: what a command shows of a run, and which files it makes of it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import click

from isosmoke.cli import mute
from isosmoke.cli.report_files import STDOUT, LineFile, put, target
from isosmoke.errors import ExitCode, UsageError
from isosmoke.reports import REPORTS, github
from isosmoke.reports.jsonl import Stream
from isosmoke.results import run_record
from isosmoke.results.events import Event
from isosmoke.results.run_record import RunRecord
from isosmoke.results.run_results import RunResult
from isosmoke.text import meant, printable

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
        "console or agent: what is shown; by default agent where a coding agent is recognised. "
        f"{'=, '.join(REPORTS)}=FILE (- is stdout), github: beside that; repeatable."
    ),
)


@dataclass(frozen=True, slots=True)
class Report:
    """A kind, and the file that it goes to: `-` is stdout, empty where it has none."""

    kind: str
    file: str = ""

    @property
    def words(self) -> str:
        """As it is asked for."""
        return f"{self.kind}={self.file}" if self.file else self.kind


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was asked for; `screen` None leaves it to who reads.

    `stdout_taken`: stdout is one document, so that all else has to go to stderr.
    """

    screen: Screen | None = None
    reports: tuple[Report, ...] = ()
    stdout_taken: bool = False


def chosen(words: Iterable[str], *, stdout_taken: bool = False) -> Chosen:
    """What `--report` asks for; `stdout_taken` says that a document goes to stdout already.

    Raises:
        UsageError: for an unknown kind, a kind without its file or with one too many, two reports
            for one place, or a place to which only a link of a repository leads.
    """
    reports = [_parsed(one) for one in words]
    screens = [one for one in SCREENS if Report(one) in reports]
    if len(screens) > 1:
        raise UsageError("a run is shown once: --report console or --report agent, not both")
    files = tuple(dict.fromkeys(one for one in reports if one.kind not in SCREENS))
    places = [*([STDOUT] if stdout_taken else []), *(one.file for one in files if one.file)]
    for place in places:
        if places.count(place) > 1:
            name = "stdout" if place == STDOUT else place
            raise UsageError(f"two documents go to {name}", hint="give each a file of its own")
        if place != STDOUT:
            target(place)
    return Chosen(next(iter(screens), None), files, STDOUT in places)


def _parsed(word: str) -> Report:
    kind, _, file = word.partition("=")
    if kind in REPORTS and not file:
        raise UsageError(f"--report {kind} needs a file", hint=f"--report {kind}=FILE, or {kind}=-")
    if kind in (*SCREENS, GITHUB) and "=" in word:
        raise UsageError(f"--report {kind} takes no file", hint=f"--report {kind}")
    known = (*SCREENS, *REPORTS, GITHUB)
    if kind not in known:
        raise UsageError(
            f"no report {kind!r}{meant(kind, known)}", hint=f"one of {', '.join(known)}"
        )
    return Report(kind, file)


def show_github(run: RunRecord, environment: Mapping[str, str], *, err: bool = False) -> None:
    """Print annotations, and append to the summary of the step where GitHub says where that is."""
    top = environment.get("GITHUB_WORKSPACE") or run.working
    click.echo(github.annotations(run, top), nl=False, err=err)
    step = environment.get("GITHUB_STEP_SUMMARY")
    if step:
        with Path(step).open("ab") as file:
            file.write(github.summary(run, github.MOST_BYTES - file.tell()).encode())


@dataclass(slots=True)
class Reporting:
    """The files of one run: lines while it goes on, everything else at its end.

    What cannot be written is told, and costs neither the run nor another report.
    """

    chosen: Chosen
    environment: Mapping[str, str]
    failed: bool = False
    _unshown: OSError | None = None
    _lines: dict[Report, LineFile] = field(default_factory=dict)
    _streams: list[Stream] = field(default_factory=list)

    def __post_init__(self) -> None:
        for one in self.chosen.reports:
            if one.kind == "jsonl":
                self._lines[one] = LineFile(one.file)
                self._streams.append(Stream(self._lines[one]))

    def beside(self, screen: Callable[[Event], None]) -> Callable[[Event], None]:
        """What takes a run's events, `screen` among others."""
        show = self.borne(screen)

        def tell(event: Event) -> None:
            show(event)
            for stream in self._streams:
                stream(event)

        return tell

    def borne(self, show: Callable[[Shown], object]) -> Callable[[Shown], None]:
        """What shows the same, and where stdout or stderr take no more, bears it until the end."""

        def tell(shown: Shown) -> None:
            try:
                show(shown)
            except OSError as error:
                self._unshown = error
                mute()

        return tell

    def finish(self, result: RunResult | None) -> None:
        """Make every report of a run, or say that there was none to make them of."""
        if result is None:
            if self.chosen.reports:
                click.echo("no report was made: nothing was run", err=True)
            return
        run = run_record.of(result)
        if self._unshown is not None:
            self._complain("this run", self._unshown, f"isosmoke show {run.id}")
        for one in self.chosen.reports:
            try:
                self._make(one, run)
            except OSError as error:
                repeat = f"isosmoke report {run.id} --as {one.kind}"
                self._complain(f"the report {one.words}", error, repeat)

    def exit_code(self, code: ExitCode) -> ExitCode:
        """The run's own, but a run without the reports that were asked for is no success."""
        return ExitCode.INFRASTRUCTURE if self.failed and code is ExitCode.OK else code

    def _make(self, report: Report, run: RunRecord) -> None:
        if report.kind == GITHUB:
            show_github(run, self.environment, err=self.chosen.stdout_taken)
        elif report in self._lines:
            self._lines[report].end()
        else:
            put(report.file, REPORTS[report.kind](run))

    def _complain(self, what: str, error: OSError, repeat: str) -> None:
        self.failed = True
        click.echo(
            printable(f"isosmoke: {what} could not be written: {error.strerror or error}"), err=True
        )
        click.echo(printable(f"  try: {repeat}"), err=True)
