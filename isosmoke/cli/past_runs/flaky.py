"""List scenarios that both passed and failed with the same binary and script."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

import click

from isosmoke.cli.console import print_unreadable
from isosmoke.cli.document_kinds import DocumentKind
from isosmoke.cli.options import json_option
from isosmoke.errors import NothingSelectedError
from isosmoke.history import reader
from isosmoke.host.caller_process import Caller
from isosmoke.investigation.repetition import flakiness
from isosmoke.investigation.repetition.flakiness import FlakyDocument, ScenarioRate
from isosmoke.results.records.record_base import render_json
from isosmoke.text import escape_controls

DOCUMENTS = {
    "flaky": DocumentKind("flaky --json", FlakyDocument),
}
"""The kinds of JSON documents that this command writes."""


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "lists_all", is_flag=True, help="Also list scenarios that are not flaky.")
@json_option
def command(*, names: tuple[str, ...], lists_all: bool, as_json: bool) -> None:
    """List the failure rate of flaky scenarios over the recorded runs, by name or glob.

    Attempts are counted together only if they had the same binary and the same script. JSON has all
    scenarios.
    """
    working = Caller.current().working
    reader.find_run(None, working)  # an error if there is no run
    document = flakiness.measure_rates(
        reader.load_runs(working, print_unreadable),
        lambda name: not names or any(fnmatchcase(name, pattern) for pattern in names),
    )
    _require_all(names, document)
    if as_json:
        click.echo(render_json(document), nl=False)
        return
    for line in _render(document, lists_all=lists_all):
        click.echo(escape_controls(line))


def _require_all(names: tuple[str, ...], document: FlakyDocument) -> None:
    """Raise an error for a name without an attempt that passed or failed."""
    known = {rate.name for rate in document.scenarios}
    for pattern in names:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise NothingSelectedError(
                f"no recorded attempt of {pattern!r} passed or failed",
                "run `isosmoke runs` to list the runs",
            )


def _render(document: FlakyDocument, *, lists_all: bool) -> Iterator[str]:
    flaky = [rate for rate in document.scenarios if rate.is_flaky]
    shown = document.scenarios if lists_all else flaky
    for rate in shown:
        yield _format_row(rate)
        yield from (f"  {item.count}x {item.outcome}  {item.reason}" for item in rate.reasons)
    if not flaky:
        attempts = sum(rate.rate.runs for rate in document.scenarios)
        yield f"no scenario both passed and failed with the same inputs ({attempts} attempts)"
    if document.uncounted:
        yield f"not counted: {document.uncounted} attempts of former versions, without script hash"


def _format_row(rate: ScenarioRate) -> str:
    binary = f"binary {rate.binary_sha256[:12]}" if rate.binary_sha256 else "no binary"
    total = rate.rate
    together = f"{rate.together.failed} of {rate.together.runs} next to others"
    return (
        f"{rate.name}  {total.failed} of {total.runs} failed ({total}); {together}; "
        f"{binary}, script {rate.script_sha256[:12]}"
    )
