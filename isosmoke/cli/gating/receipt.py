"""Show a gate receipt, or verify that it is still valid."""

from pathlib import Path
from typing import Literal

import click

from isosmoke.cli.json_documents import DocumentKind
from isosmoke.cli.options import json_option, manifest_option
from isosmoke.errors import ExitCode, UsageError
from isosmoke.gate import receipt, receipt_inputs
from isosmoke.gate.receipt import Statement
from isosmoke.host import files, git
from isosmoke.host.caller_process import Caller
from isosmoke.host.git import GitError
from isosmoke.host.state import RECORDS_DIRECTORY
from isosmoke.host.workspace_directories import git_top
from isosmoke.results import run_record
from isosmoke.results.run_record import RecordModel, Text
from isosmoke.text import escape_controls


class Verification(RecordModel):
    """The output of `isosmoke receipt verify --json`; `broken` lists what changed."""

    schema_version: Literal[1] = 1
    holds: bool
    broken: tuple[Text, ...]
    note: str


DOCUMENTS = {
    "receipt": DocumentKind("what a gate leaves in .isosmoke/receipts", Statement),
    "verification": DocumentKind("receipt verify --json", Verification),
}
"""The kinds of JSON documents that this command reads or writes."""


@click.group()
def command() -> None:
    """Show or verify the receipt that a gate has written."""


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--binary",
    type=click.Path(path_type=Path),
    help="Compare with this binary instead of the recorded one.",
)
@manifest_option("Compare with this manifest instead of the recorded one.")
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
    """Compare a receipt with the current files and list the changes.

    A later commit is noted but does not invalidate a receipt: everything tested is hashed.

    \b
    Exit codes: 0 valid · 1 not valid · 2 unreadable
    """  # noqa: D301 - click's marker for an unwrapped paragraph
    statement = _read(file)
    manifest = manifest_path or _locate_manifest(statement, file)
    changes = receipt_inputs.find_changes(statement, manifest, binary)
    broken = (*_describe_shut_gate(statement), *changes)
    note = _compare_checkout(statement, manifest)
    if as_json:
        verification = Verification(holds=not broken, broken=broken, note=note)
        click.echo(run_record.render(verification), nl=False)
    else:
        _print(file, broken, note)
    ctx.exit(ExitCode.BLOCKED if broken else ExitCode.OK)


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
def show(file: Path) -> None:
    """Summarize a receipt in a few lines."""
    statement = _read(file)
    about = statement.circumstances
    binary = statement.subject[0]
    click.echo(escape_controls(f"{statement.predicate.result} {about.task} at {about.tested_at}"))
    click.echo(escape_controls(f"  {binary.name} sha256 {binary.sha256}"))
    for name, outcome in about.outcomes.items():
        click.echo(escape_controls(f"  {outcome} {name}"))
    for warning in about.warnings or ():
        click.echo(escape_controls(f"  WARNING: {warning}"))
    for item in statement.predicate.configuration:
        click.echo(escape_controls(f"  {item.name} {item.sha256}".rstrip()))


def _read(file: Path) -> Statement:
    try:
        return receipt.parse(files.read(file), str(file))
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}", hint="pass the file of a receipt") from error


def _describe_shut_gate(statement: Statement) -> tuple[str, ...]:
    return () if statement.circumstances.open else ("the gate was shut",)


def _locate_manifest(statement: Statement, file: Path) -> Path:
    """Return the manifest of a receipt, whose path starts from the top of a repository.

    That is the repository whose records contain the receipt, else the one around the caller.
    """
    path, working = Path(statement.manifest_path), Caller.current().working
    records = file.absolute().parent.parent
    own = [records.parent] if records.name == RECORDS_DIRECTORY else []
    tops = (*own, git_top(working) or working)
    return next((top / path for top in tops if (top / path).is_file()), tops[-1] / path)


def _compare_checkout(statement: Statement, manifest: Path) -> str:
    directory = manifest.absolute().parent
    try:
        environment = Caller.current().environment
        now = git.read_checkout(directory, environment) if directory.is_dir() else None
    except GitError as error:
        return f"the repository cannot be compared: {error.message}"
    return receipt.describe_checkout_change(statement.circumstances.repository, now)


def _print(file: Path, broken: tuple[str, ...], note: str) -> None:
    click.echo(escape_controls(f"{file}: {'not valid' if broken else 'valid'}"))
    for line in broken:
        click.echo(f"  {escape_controls(line)}")
    if note:
        click.echo(f"  note: {escape_controls(note)}")
