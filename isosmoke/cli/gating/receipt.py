"""Say whether a gate's verdict still holds."""

from pathlib import Path
from typing import Literal

import click

from isosmoke.cli.json_documents import Written
from isosmoke.cli.options import json_option, manifest_option
from isosmoke.errors import ExitCode, UsageError
from isosmoke.gate import receipt, receipt_inputs
from isosmoke.gate.receipt import Statement
from isosmoke.host import git
from isosmoke.host.caller_process import Caller
from isosmoke.host.git import GitError
from isosmoke.results import run_record
from isosmoke.results.run_record import RecordModel, Text
from isosmoke.text import printable


class Verification(RecordModel):
    """What `isosmoke receipt verify --json` prints: `broken` names what is not as it was."""

    schema_version: Literal[1] = 1
    holds: bool
    broken: tuple[Text, ...]
    note: str


DOCUMENTS = {
    "receipt": Written("what a gate leaves in .isosmoke/receipts", Statement),
    "verification": Written("receipt verify --json", Verification),
}
"""The kinds of JSON documents that this command is about."""


@click.group()
def command() -> None:
    """Look at what a gate wrote down of a pass through it."""


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--binary", type=click.Path(path_type=Path), help="In place of the one it names.")
@manifest_option("In place of the one it names, whose work tree may be gone.")
@json_option
@click.pass_context
def verify(
    ctx: click.Context,
    /,
    file: Path,
    binary: Path | None,
    manifest_path: Path | None,
    *,
    as_json: bool,
) -> None:
    """Compare a receipt with what is there now; name what changed.

    A later commit is told, and breaks nothing by itself: everything that was tested is hashed.

    \b
    Exit codes: 0 it holds · 1 it does not · 2 it cannot be read
    """  # noqa: D301 - click's marker for a paragraph that is not to be wrapped
    then = _read(file)
    broken = (*_shut(then), *receipt_inputs.changes(then, manifest_path, binary))
    note = _note(then, manifest_path)
    if as_json:
        verification = Verification(holds=not broken, broken=broken, note=note)
        click.echo(run_record.render(verification), nl=False)
    else:
        _tell(file, broken, note)
    ctx.exit(ExitCode.BLOCKED if broken else ExitCode.OK)


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
def show(file: Path) -> None:
    """Say in a few lines what a receipt is about."""
    then = _read(file)
    about = then.circumstances
    click.echo(printable(f"{then.predicate.result} {about.task} at {about.tested_at}"))
    click.echo(printable(f"  {then.subject[0].name} sha256 {then.subject[0].sha256}"))
    for name, outcome in about.outcomes.items():
        click.echo(printable(f"  {outcome} {name}"))
    for warning in about.warnings or ():
        click.echo(printable(f"  WARNING: {warning}"))
    for one in then.predicate.configuration:
        click.echo(printable(f"  {one.name} {one.sha256}".rstrip()))


def _read(file: Path) -> Statement:
    try:
        return receipt.parse(file.read_bytes(), str(file))
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}", hint="name a receipt") from error


def _shut(then: Statement) -> tuple[str, ...]:
    return () if then.circumstances.open else ("the gate was shut",)


def _note(then: Statement, manifest_path: Path | None) -> str:
    folder = (manifest_path or Path(then.circumstances.manifest)).absolute().parent
    try:
        now = git.read_checkout(folder, Caller.here().environment) if folder.is_dir() else None
    except GitError as error:
        return f"the repository cannot be compared: {error.message}"
    return receipt.moved_on(then.circumstances.repository, now)


def _tell(file: Path, broken: tuple[str, ...], note: str) -> None:
    click.echo(printable(f"{file}: {'does not hold' if broken else 'holds'}"))
    for line in broken:
        click.echo(f"  {printable(line)}")
    if note:
        click.echo(f"  note: {printable(note)}")
