"""Refuse a manifest that lost or weakened something."""

from os.path import relpath
from pathlib import Path

import click

from isosmoke.authoring import manifest_comparison
from isosmoke.authoring.manifest_comparison import Blamed, Comparison
from isosmoke.cli.options import manifest_file, manifest_option
from isosmoke.errors import ExitCode
from isosmoke.text import printable

_HINT = "put it back, or mend it without asking for less; a new name keeps the old one in `aliases`"


@click.command()
@click.option("--against", metavar="REV", help="By default where this branch left the main branch.")
@manifest_option()
@click.pass_context
def command(ctx: click.Context, against: str | None, manifest_path: Path | None) -> None:
    """Refuse a manifest that lost or weakened something since a revision of git.

    That is: a scenario, owner, alias, script or assertion that is gone; a new name without an
    alias; a shorter deadline; more retries, time to settle or requirements; a leak that was not
    allowed; a script made empty; a weaker [gate]. Another image, network, environment, limit,
    capability, service or tag is a note for you to judge. The work tree counts, committed or not.
    """
    path = manifest_file(manifest_path)
    comparison = manifest_comparison.compare(path, against)
    for one in comparison.blamed:
        click.echo(_line(path, one))
    click.echo(f"check: {_summary(comparison)}", err=True)
    if comparison.refused:
        click.echo(f"  try: {_HINT}", err=True)
        ctx.exit(ExitCode.BLOCKED)


def _line(path: Path, blamed: Blamed) -> str:
    note = "" if blamed.loss.refused else "note: "
    return printable(f"{relpath(path)}: {note}{blamed.loss} ({blamed.culprit})")


def _summary(comparison: Comparison) -> str:
    number = comparison.refused
    verdict = f"REFUSED, {number} lost or weakened" if number else "nothing lost or weakened"
    since = f"since {comparison.base.identity[:7]}, {comparison.base.words}"
    return f"{verdict} {since}; scenarios: {comparison.before} then, {comparison.after} now"
