"""Check that the manifests of a work tree lost nothing since they were reviewed."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from os.path import relpath
from pathlib import Path

import click

from isosmoke.authoring.growth import comparison
from isosmoke.authoring.growth.comparison import BlamedLoss, CheckRequest, Comparison
from isosmoke.cli.document_kinds import DocumentKind
from isosmoke.cli.options import json_option, manifest_option
from isosmoke.gate.proofs import requirement
from isosmoke.host.caller_process import Caller
from isosmoke.results.records.finding import FindingsDocument, GateFinding
from isosmoke.results.records.record_base import render_json
from isosmoke.text import escape_controls

_LOSS_HINT = "restore it, or fix it without weakening it; keep a former name in `aliases`"
_BASE_HINT = (
    "commit, or fetch the history (git fetch --unshallow), or name a revision: --against REV"
)
_HINTS = {
    requirement.UNPROVEN: "isosmoke prove NAME --broken BIN --fixed BIN",
    requirement.TOOTHLESS: "isosmoke teeth NAME --declared",
}
_NOTE_HINT = "after a review, acknowledge it with a trailer in a commit message:"


class CheckDocument(FindingsDocument):
    """The output of `isosmoke check --json`.

    `base` is what the work tree was compared with, and `acknowledged` the number of findings that a
    review covers.
    """

    base: str
    acknowledged: int


DOCUMENTS = {"check": DocumentKind("check --json", CheckDocument)}
"""The kinds of JSON documents that this command writes."""


@click.command()
@click.option(
    "--against",
    metavar="REV",
    help="Compare with REV.  [default: what was reviewed, never HEAD itself]",
)
@click.option("--strict", is_flag=True, help="Also fail if there are notes.")
@manifest_option("Also compare this manifest.  [default: those at the usual places]")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    against: str | None,
    strict: bool,
    manifest_path: Path | None,
    as_json: bool,
) -> None:
    """Refuse manifests that lost or weakened something since they were reviewed.

    Every usual place of a manifest is compared, in the work tree and as staged, with the upstream
    branch and the merge base with the main branch; on the main branch, with all ancestors; in CI,
    also with the base of the event. A change that can hide a failure is a loss. A rewritten script
    or sourced file, a reworded assertion and a changed deadline are notes, which a commit trailer
    acknowledges: Isosmoke-Reviewed: NAME DIGEST.

    \b
    Exit codes: 0 nothing lost · 1 losses, or notes with --strict · 2 usage or manifest error
    """  # noqa: D301 - click's marker for an unwrapped paragraph
    caller = Caller.current()
    request = CheckRequest(
        working=caller.working,
        environment=caller.environment,
        manifest=manifest_path,
        against=against,
    )
    result = comparison.compare(request)
    lacking = tuple(requirement.find_losses(result, caller))
    result = replace(result, blamed=(*result.blamed, *lacking))
    document = _build_document(result)
    if as_json:
        click.echo(render_json(document), nl=False)
    else:
        _print(result)
    ctx.exit(document.select_exit_code(strict=strict))


def _build_document(result: Comparison) -> CheckDocument:
    losses = [_build_finding(item) for item in result.blamed if item.loss.refused]
    notes = [_build_finding(item) for item in result.blamed if not item.loss.refused]
    return CheckDocument(
        losses=tuple(losses),
        notes=tuple(notes),
        base=result.base,
        acknowledged=result.acknowledged,
    )


def _build_finding(item: BlamedLoss) -> GateFinding:
    place = item.place if item.place == item.loss.place else f"{item.place}: {item.loss.place}"
    return GateFinding(
        kind=item.loss.kind,
        place=place,
        message=item.loss.text,
        commit=item.culprit or None,
        digest=item.digest or None,
    )


def _print(result: Comparison) -> None:
    for item in result.blamed:
        click.echo(escape_controls(_describe(result.top, item)))
    click.echo(f"check: {_summarize(result)}", err=True)
    kinds = {item.loss.kind for item in result.blamed if item.loss.refused}
    for kind, hint in _HINTS.items():
        if kind in kinds:
            click.echo(f"  try: {hint}", err=True)
    if kinds - {*comparison.OF_BASES, *_HINTS}:
        click.echo(f"  try: {_LOSS_HINT}", err=True)
    elif kinds - {*_HINTS}:
        click.echo(f"  try: {_BASE_HINT}", err=True)
    trailers = dict.fromkeys(_list_trailers(result))
    if trailers:
        click.echo(f"  try: {_NOTE_HINT}", err=True)
    for trailer in trailers:
        click.echo(escape_controls(f"       {trailer}"), err=True)


def _list_trailers(result: Comparison) -> Iterator[str]:
    return (item.trailer for item in result.blamed if item.trailer and not item.loss.refused)


def _describe(top: Path, item: BlamedLoss) -> str:
    note = "" if item.loss.refused else "note: "
    culprit = f" ({item.culprit})" if item.culprit else ""
    if item.place == item.loss.place:
        return f"{relpath(top / item.place)}: {note}{item.loss.text}{culprit}"
    return f"{relpath(top / item.place)}: {note}{item.loss}{culprit}"


def _summarize(result: Comparison) -> str:
    number = result.refused
    notes = len(result.blamed) - number
    kinds = Counter(item.loss.kind for item in result.blamed)
    unproven, toothless = kinds[requirement.UNPROVEN], kinds[requirement.TOOTHLESS]
    weakened = number - unproven - toothless
    lost = f"REFUSED, {weakened} lost or weakened" if number else "nothing lost or weakened"
    verdict = lost + (
        f", {unproven} without a proof" * bool(unproven)
        + f", {toothless} without teeth" * bool(toothless)
    )
    also = f", {notes} to review" * bool(notes) + (
        f", {result.acknowledged} acknowledged" * bool(result.acknowledged)
    )
    scenarios = f"scenarios: {result.before} before, {result.after} now"
    return f"{verdict} since {result.base}{also}; {scenarios}"
