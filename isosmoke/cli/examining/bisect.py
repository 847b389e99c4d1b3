"""Find the first commit whose binary fails a scenario."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePath

import click

from isosmoke.cli.document_kinds import DocumentKind
from isosmoke.cli.options import json_option, manifest_option, select_one
from isosmoke.cli.running import engine_option, jobs_option
from isosmoke.dataclass import dataclass
from isosmoke.errors import ExitCode, UsageError
from isosmoke.execution.request import Request
from isosmoke.execution.scheduler import Policy
from isosmoke.history import layout
from isosmoke.host import files
from isosmoke.host.caller_process import Caller, is_agent
from isosmoke.host.workspace_directories import git_top
from isosmoke.interrupt import Interrupt, interruptible
from isosmoke.investigation.bisection import bisection_wording, commits, state_file
from isosmoke.investigation.bisection.bisection import Bisection, ReadyMade
from isosmoke.investigation.bisection.bisection_record import (
    BisectionDocument,
    BisectionState,
    TestedCommit,
)
from isosmoke.investigation.bisection.bisection_wording import SUSPECTS_SHOWN
from isosmoke.investigation.bisection.builds import Builder
from isosmoke.investigation.bisection.commits import Range
from isosmoke.investigation.bisection.state_file import StateFile
from isosmoke.investigation.bisection.trial import Trials
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.results.records.record_base import render_json
from isosmoke.rootfs_images import image_kinds
from isosmoke.text import escape_controls, shorten

DOCUMENTS = {
    "bisection": DocumentKind("bisect NAME --json", BisectionDocument),
}
"""The kinds of JSON documents that this command writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _BisectOptions:
    """The request: a range of commits, and either a build command or ready-made binaries."""

    good: tuple[str, ...]
    bad: str
    build: str | None
    binaries: Path | None
    binary: str
    jobs: int
    count: int
    engine: str

    def check(self) -> None:
        """Raise `UsageError` for a contradiction."""
        if (self.build is None) == (self.binaries is None):
            raise UsageError(
                "pass one of --build and --binaries",
                hint="--build 'cargo build' --binary target/debug/wg, or --binaries DIR",
            )
        path = PurePath(self.binary)
        if self.build is not None and not path.parts:
            raise UsageError(
                "--build requires --binary", hint="--binary target/debug/wg, from the top directory"
            )
        if path.is_absolute() or ".." in path.parts:
            raise UsageError(
                f"--binary {self.binary} is not inside a work tree",
                hint="give the path relative to the top directory, such as target/debug/wg",
            )


@click.command()
@click.argument("name")
@click.option(
    "--good",
    multiple=True,
    required=True,
    metavar="REV",
    help="A revision that passes; repeatable.",
)
@click.option("--bad", required=True, metavar="REV", help="A later revision that fails.")
@click.option("--build", metavar="CMD", help="Build a commit with this shell command.")
@click.option(
    "--binary",
    default="",
    metavar="PATH",
    help="The path of the built binary, relative to the top directory of a work tree.",
)
@click.option(
    "--binaries",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Use ready-made binaries, each named by its revision, in place of --build.",
)
@jobs_option("Test this many commits at once.", 64, default=1)
@click.option(
    "--count",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    metavar="N",
    help="Run the scenario N times per commit; one failure makes it bad.",
)
@click.option("--restart", is_flag=True, help="Discard an unfinished bisection of this range.")
@manifest_option()
@engine_option()
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    name: str,
    good: tuple[str, ...],
    bad: str,
    build: str | None,
    binary: str,
    binaries: Path | None,
    jobs: int,
    count: int,
    restart: bool,
    manifest_path: Path | None,
    engine: str,
    as_json: bool,
) -> None:
    """Find the first commit whose binary fails the scenario NAME.

    The manifest and the script are those of your work tree, which stays untouched: commits are
    built in work trees next to the repository. A commit that cannot be built or tested is skipped.
    After an interrupt or a kill, the same command line continues.

    \b
    Exit codes: 0 found · 1 only a range was found · 125 not confirmed, or the machine failed
    """  # noqa: D301 - click's marker for an unwrapped paragraph
    options = _BisectOptions(
        good=good,
        bad=bad,
        build=build,
        binaries=binaries,
        binary=binary,
        jobs=jobs,
        count=count,
        engine=engine,
    )
    options.check()
    manifest, scenario = select_one(name, manifest_path)
    run = _BisectRun(options, Caller.current(), manifest, scenario)
    with interruptible() as interrupt, run.opened(interrupt, restart=restart) as bisection:
        document = run.bisect(bisection)
    if as_json:
        click.echo(render_json(document), nl=False)
    else:
        for line in bisection_wording.render(document):
            click.echo(escape_controls(line))
    ctx.exit(_select_exit_code(document))


@dataclass(frozen=True, slots=True)
class _BisectRun:
    """One bisection from its options to its document."""

    options: _BisectOptions
    caller: Caller
    manifest: Manifest
    scenario: Scenario

    @contextmanager
    def opened(self, interrupt: Interrupt, *, restart: bool) -> Iterator[Bisection]:
        """Yield the bisection, new or continued, with its state locked.

        Its state and its work trees are removed at the end, unless it was interrupted.
        """
        top = git_top(self.caller.working)
        if top is None:
            raise UsageError(
                f"{self.caller.working} is not in a git repository",
                hint="change to the repository whose commits are to be tested",
            )
        found = commits.read_range(top, self.options.good, self.options.bad)
        key = self._compute_key(top, found)
        with ExitStack() as stack:
            stack.enter_context(image_kinds.images_in_use([self.scenario.image]))
            file = stack.enter_context(state_file.open_state(layout.list_homes(top), key))
            directory = top.parent / f".{top.name}-bisect-{key}"
            source = self._create_source(top, directory)
            if restart:
                _discard(file, source)
            state = self._load(file, directory, source)
            bisection = Bisection(
                commits=found,
                source=source,
                trials=self._create_trials(),
                file=file,
                state=state,
                jobs=self.options.jobs,
                interrupt=interrupt,
                notify=self._show,
            )
            try:
                yield bisection
            except UsageError:  # a wrong end: there is nothing to continue
                _discard(file, source)
                raise
            if not interrupt.is_raised:
                _discard(file, source)

    def _compute_key(self, top: Path, found: Range) -> str:
        """Return the name of the bisection, which is of all inputs that decide the verdicts."""
        options = self.options
        return state_file.compute_key(
            [
                str(top),
                self.scenario.name,
                files.sha256(self.scenario.script_path),
                *sorted(revision.identity for revision in found.good),
                found.bad.identity,
                options.build or "",
                options.binary,
                str(options.binaries.absolute()) if options.binaries else "",
                str(options.count),
                options.engine,
            ]
        )

    def _create_source(self, top: Path, directory: Path) -> Builder | ReadyMade:
        options = self.options
        if options.binaries is not None:
            return ReadyMade(commits.find_binaries(top, options.binaries, options.binary))
        return Builder(
            top=top,
            directory=directory,
            command=options.build or "",
            binary=Path(options.binary),
            environment=self.caller.environment,
        )

    def _load(
        self, file: StateFile, directory: Path, source: Builder | ReadyMade
    ) -> BisectionState:
        """Return the state of an unfinished bisection, or that of a new one."""
        if isinstance(source, Builder):
            source.open_slots(self.options.jobs)
        if state := file.load():
            click.echo(f"continuing after {len(state.tested)} commits", err=True)
            return state
        worktrees = str(directory) if self.options.build is not None else ""
        state = BisectionState(name=self.scenario.name, worktrees=worktrees)
        file.save(state)
        return state

    def _create_trials(self) -> Trials:
        request = Request(
            scenarios=(self.scenario,),
            manifest=self.manifest.path,
            engine=self.options.engine,
            policy=Policy(evidence="never"),
        )
        return Trials(request=request, caller=self.caller, count=self.options.count)

    def _show(self, tested: TestedCommit) -> None:
        if not is_agent(self.caller.environment):
            reason = f"  {shorten(tested.reason)}" if tested.reason else ""
            line = f"{tested.verdict:<4} {tested.commit[:12]} {tested.seconds:8.1f}s{reason}"
            click.echo(escape_controls(line), err=True)

    def bisect(self, bisection: Bisection) -> BisectionDocument:
        """Run the bisection and return its document.

        Raises:
            UsageError: if an end of the range has the wrong verdict.
        """
        bisection.test_ends()
        notes = [*_check_ends(bisection)]
        bisection.run()
        search, top = bisection.search, git_top(self.caller.working) or Path()
        confirmed = None
        if search.first_bad and not bisection.interrupt.is_raised:
            differences = [*bisection.confirm(commits.read_parents(top, search.first_bad))]
            confirmed, notes = not differences, [*notes, *differences]
        notes += [
            f"{commit[:12]} contradicts other verdicts: more than one change, or a flaky scenario"
            for commit in search.contradictions
        ]
        return BisectionDocument(
            name=self.scenario.name,
            good=tuple(revision.identity for revision in bisection.commits.good),
            bad=bisection.commits.bad.identity,
            first_bad=commits.read_named(top, search.first_bad) if search.first_bad else None,
            suspects=(
                *(commits.read_named(top, commit) for commit in search.suspects[:SUSPECTS_SHOWN]),
                *(commits.leave_unnamed(commit) for commit in search.suspects[SUSPECTS_SHOWN:]),
            ),
            confirmed=confirmed,
            stopped=bisection.interrupt.reason or None,
            tested=bisection.state.tested,
            notes=tuple(notes),
        )


def _check_ends(bisection: Bisection) -> Iterator[str]:
    """Yield a note for each end that could not be tested.

    Raises:
        UsageError: if the bad end passes, or a good one fails.
    """
    bad, *good = bisection.ends
    for commit, expected in ((bad, "bad"), *((commit, "good") for commit in good)):
        tested = bisection.find(commit)
        if tested is None:
            continue
        if tested.verdict == "skip":
            yield f"{commit[:12]} is taken to be {expected}, as it was not tested: {tested.reason}"
        elif tested.verdict != expected:
            wrong = "passes" if expected == "bad" else f"fails: {tested.reason}"
            raise UsageError(
                f"--{expected} {commit[:12]} {wrong}",
                hint="name another revision, or measure the scenario with isosmoke stress",
            )


def _discard(file: StateFile, source: Builder | ReadyMade) -> None:
    """Remove the state and the work trees of a bisection."""
    if isinstance(source, Builder):
        source.remove()
    file.remove()


def _select_exit_code(document: BisectionDocument) -> ExitCode:
    if document.stopped:
        return ExitCode.for_signal(document.stopped)
    if document.confirmed is False:
        return ExitCode.INFRASTRUCTURE
    return ExitCode.OK if document.first_bad else ExitCode.BLOCKED
