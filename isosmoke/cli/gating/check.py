"""Check that a manifest lost or weakened nothing since a git revision."""

from os.path import relpath
from pathlib import Path

import click

from isosmoke.authoring import manifest_comparison
from isosmoke.authoring.manifest_comparison import BlamedLoss, Comparison
from isosmoke.cli.options import find_manifest, manifest_option
from isosmoke.errors import ExitCode
from isosmoke.text import escape_controls

_HINT = "restore it, or fix it without weakening it; keep a former name in `aliases`"


@click.command()
@click.option(
    "--against",
    metavar="REV",
    help="Compare with REV.  [default: the merge base with the main branch]",
)
@manifest_option()
@click.pass_context
def command(ctx: click.Context, against: str | None, manifest_path: Path | None) -> None:
    """Refuse a manifest that lost or weakened something since a git revision.

    Refused changes: a removed scenario, owner, alias, script or assertion; a rename without an
    alias; a shorter timeout; more retries, settle time or requirements; a newly allowed leak; an
    emptied script; a weaker [gate]. A changed image, network, environment, limit, capability,
    service or tag is only noted for review. The work tree is compared, including uncommitted
    changes.
    """
    path = find_manifest(manifest_path)
    comparison = manifest_comparison.compare(path, against)
    for blamed in comparison.blamed:
        click.echo(_describe(path, blamed))
    click.echo(f"check: {_summarize(comparison)}", err=True)
    if comparison.refused:
        click.echo(f"  try: {_HINT}", err=True)
        ctx.exit(ExitCode.BLOCKED)


def _describe(path: Path, blamed: BlamedLoss) -> str:
    note = "" if blamed.loss.refused else "note: "
    return escape_controls(f"{relpath(path)}: {note}{blamed.loss} ({blamed.culprit})")


def _summarize(comparison: Comparison) -> str:
    number = comparison.refused
    verdict = f"REFUSED, {number} lost or weakened" if number else "nothing lost or weakened"
    since = f"since {comparison.base.identity[:7]}, {comparison.base.description}"
    return f"{verdict} {since}; scenarios: {comparison.before} before, {comparison.after} now"
