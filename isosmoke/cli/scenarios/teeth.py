"""Find scenarios that cannot fail: break one subcommand at a time, and see which of them notice."""

import re
import sys
from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path

import click

from isosmoke.cli.json_documents import DocumentKind
from isosmoke.cli.options import (
    ScenarioSelection,
    json_option,
    select_scenarios,
    selection_options,
)
from isosmoke.cli.report_files import resolve_target, write
from isosmoke.cli.running import engine_options
from isosmoke.errors import ExitCode
from isosmoke.execution.concurrency.machine import count_cores
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import interruptible
from isosmoke.manifest.filters import Expression
from isosmoke.reports import agent
from isosmoke.results import run_record
from isosmoke.results.events import Event, ScenarioFinished
from isosmoke.results.outcome import Outcome
from isosmoke.teeth import measurement, page, report, verdicts
from isosmoke.teeth.measurement import Measurement, MeasurementSettings
from isosmoke.teeth.report import Sample, TeethDocument
from isosmoke.teeth.sabotages import Sabotage
from isosmoke.text import escape_controls

DOCUMENTS = {
    "teeth": DocumentKind("teeth --json", TeethDocument),
}
"""The kinds of JSON documents that this command reads or writes."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h)?")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
_MAX_GAPS = 20


def _parse_duration(_: click.Context, param: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    match = _DURATION.fullmatch(text)
    if match is None:
        raise click.BadParameter(f"{text!r} is not a duration such as 90s, 10m or 1h", param=param)
    return float(match[1]) * _UNITS[match[2] or ""]


@click.command()
@selection_options
@engine_options
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    help="Run this many scenarios at once.  [default: one per core]",
)
@click.option(
    "--sabotage",
    "chosen",
    multiple=True,
    type=click.Choice([sabotage.value for sabotage in Sabotage if sabotage != Sabotage.AGAINST]),
    help="Apply this sabotage; repeatable.  [default: all]",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="PATH",
    help="Also run each subcommand with this other binary, such as an older one.",
)
@click.option(
    "--pattern",
    "patterns",
    multiple=True,
    metavar="WORDS",
    help="Name subcommands by WORDS, such as 'at _ *': _ and * match any word, and * is part of "
    "the name; repeatable.",
)
@click.option(
    "--budget",
    callback=_parse_duration,
    metavar="TIME",
    help="Start no sabotaged run after TIME, such as 60s or 10m; a random sample is run.",
)
@click.option("--seed", type=int, default=0, help="Select the sample of --budget.  [default: 0]")
@click.option("--html", metavar="FILE", help="Also write an HTML page to FILE.")
@click.option("--fresh", is_flag=True, help="Ignore the results of past measurements.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    names: tuple[str, ...],
    manifest_path: Path | None,
    owners: tuple[str, ...],
    expression: Expression | None,
    binary: str | None,
    engine: str,
    jobs: int | None,
    chosen: tuple[str, ...],
    against: Path | None,
    patterns: tuple[str, ...],
    budget: float | None,
    seed: int,
    html: str | None,
    fresh: bool,
    as_json: bool,
) -> None:
    """Break each subcommand that a scenario calls, and report what the scenario does not notice.

    Scenarios are selected by name or glob (default: all). The first run of each is with the real
    binary. Then one subcommand at a time is broken, each time in a fresh sandbox: it fails, does
    nothing, only prints its message, prints nothing, exits with the opposite status, and so on.

    \b
    Exit codes: 0 measured · 1 a scenario does not pass with the real binary, or does not
    notice a failure of a subcommand that `teeth` in its entry names
    77 every scenario was skipped · 125 also: a process left on purpose was not found
    """  # noqa: D301 - click's marker for an unwrapped paragraph
    if html is not None:
        resolve_target(html)  # report a file that cannot be written before anything runs
    manifest, scenarios = select_scenarios(
        ScenarioSelection(names=names, owners=owners, expression=expression, manifest=manifest_path)
    )
    settings = MeasurementSettings(
        manifest=manifest,
        scenarios=scenarios,
        sabotages=_choose_sabotages(chosen, against=against is not None),
        binary=binary,
        engine=engine,
        jobs=jobs or ceil(count_cores()),
        against=against,
        patterns=patterns,
        budget=budget,
        seed=seed,
        fresh=fresh,
    )
    caller = Caller.current()
    with interruptible() as interrupt:
        measured = measurement.measure(
            settings, caller, notify=_create_counter(), interrupt=interrupt
        )
    document = _create_document(measured, settings)
    if html is not None:
        write(html, page.render(document))
    if as_json:
        click.echo(run_record.render(document), nl=False)
    else:
        is_short = agent.select_report(caller.environment) == "agent"
        for line in _render(document, is_short=is_short):
            click.echo(escape_controls(line))
    ctx.exit(_choose_exit(document, measured.stopped))


def _choose_sabotages(chosen: tuple[str, ...], *, against: bool) -> tuple[Sabotage, ...]:
    """Return the sabotages, the strongest first; the other binary is one of them if given."""
    wanted = [Sabotage(name) for name in chosen] or [*Sabotage]
    others = {sabotage for sabotage in wanted if sabotage is not Sabotage.AGAINST}
    names = others | ({Sabotage.AGAINST} if against else set())
    return tuple(sabotage for sabotage in Sabotage if sabotage in names)


def _create_counter() -> Callable[[Event], None]:
    """Return a handler that shows the number of finished runs on a terminal."""
    finished: list[str] = []

    def count(event: Event) -> None:
        if isinstance(event, ScenarioFinished) and sys.stderr.isatty():
            finished.append(event.result.name)
            click.echo(f"\r{len(finished)} runs", nl=False, err=True)

    return count


def _create_document(measured: Measurement, settings: MeasurementSettings) -> TeethDocument:
    cells = [cell for row in measured.rows for cell in row.cells]
    sample = Sample(seed=settings.seed, cells_left_out=measured.left_out)
    return TeethDocument(
        binary=measured.binary.sha256,
        scenarios=report.record_rows(
            measured.rows, {scenario.name: scenario.teeth for scenario in settings.scenarios}
        ),
        gaps=report.rank_gaps(measured.rows),
        runs=measured.runs,
        reused=measured.reused,
        seconds=round(measured.seconds, 3),
        sample=sample if measured.left_out else None,
        self_test_failed=verdicts.has_failed_self_test(cells),
    )


def _render(document: TeethDocument, *, is_short: bool) -> Iterator[str]:
    """Yield the lines of the report; a short one has no matrix, but the outcomes that block."""
    if is_short:
        blocking = (scenario for scenario in document.scenarios if scenario.outcome.blocks)
        yield from (f"{each.outcome} {each.name}: {each.reason}" for each in blocking)
    else:
        yield from report.render_matrix(document.scenarios)
        yield ""
        if any(scenario.cells for scenario in document.scenarios):
            yield report.LEGEND
    yield from _render_gaps(document)
    yield f"{document.runs} sabotaged runs, {document.reused} reused, {document.seconds:.0f} s"
    if document.sample is not None:
        left, seed = document.sample.cells_left_out, document.sample.seed
        yield f"a sample (seed {seed}): the budget left out {left} sabotages"
    for scenario in document.scenarios:
        for name in scenario.toothless:
            command_line = report.format_command(name)
            yield f"TOOTHLESS {scenario.name}: teeth in the manifest names `{command_line}`"
    if document.self_test_failed:
        yield "ERROR processes were left on purpose, and none was reported as a leak"


def _render_gaps(document: TeethDocument) -> Iterator[str]:
    gaps = document.gaps
    if not gaps:
        return
    yield ""
    yield "fix first:"
    yield from (f"  {line}" for line in report.render_gaps(gaps[:_MAX_GAPS]))
    if len(gaps) > _MAX_GAPS:
        yield f"  and {len(gaps) - _MAX_GAPS} more: --json has all"


def _is_toothless(document: TeethDocument) -> bool:
    return any(scenario.toothless for scenario in document.scenarios)


def _choose_exit(document: TeethDocument, stopped: str) -> ExitCode:
    outcomes = [scenario.outcome for scenario in document.scenarios]
    if stopped:
        return ExitCode.TERMINATED if stopped == "SIGTERM" else ExitCode.INTERRUPTED
    if document.self_test_failed:
        return ExitCode.INFRASTRUCTURE
    if any(outcome.blocks for outcome in outcomes) or _is_toothless(document):
        return ExitCode.BLOCKED
    if all(outcome is Outcome.SKIP for outcome in outcomes):
        return ExitCode.ALL_SKIPPED
    return ExitCode.OK
