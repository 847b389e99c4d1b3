"""Show, verify or sign a gate receipt."""

import os
from pathlib import Path
from typing import Literal

import click

from isosmoke.cli.document_kinds import DocumentKind
from isosmoke.cli.options import json_option, manifest_option
from isosmoke.errors import ExitCode, UsageError
from isosmoke.gate import receipt, receipt_inputs
from isosmoke.gate.receipt import Statement
from isosmoke.gate.signatures import dsse
from isosmoke.gate.signatures.dsse import SignatureError, SignedEnvelope
from isosmoke.host import files, git
from isosmoke.host.caller_process import Caller
from isosmoke.host.git import GitError
from isosmoke.host.state import RECORDS_DIRECTORY
from isosmoke.host.workspace_directories import git_top
from isosmoke.results.records.document_base import RecordModel, Text
from isosmoke.results.records.record_base import render_json
from isosmoke.sandbox.host_mounts import build_host_mounts
from isosmoke.text import escape_controls


class Verification(RecordModel):
    """The output of `isosmoke receipt verify --json`; `broken` lists what changed."""

    schema_version: Literal[1] = 1
    holds: bool
    broken: tuple[Text, ...]
    note: str


DOCUMENTS = {
    "receipt": DocumentKind("what a gate leaves in .isosmoke/receipts", Statement),
    "envelope": DocumentKind("what receipt sign writes", SignedEnvelope),
    "verification": DocumentKind("receipt verify --json", Verification),
}
"""The kinds of JSON documents that this command reads or writes."""


@click.group()
def command() -> None:
    """Show, verify or sign the receipt that a gate has written."""


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--binary",
    type=click.Path(path_type=Path),
    help="Compare with this binary instead of the recorded one.",
)
@manifest_option("Compare with this manifest instead of the recorded one.")
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    help="Require a signature of this public key (PEM).",
)
@json_option
@click.pass_context
def verify(
    ctx: click.Context,
    /,
    file: Path,
    *,
    binary: Path | None,
    manifest_path: Path | None,
    key: Path | None,
    as_json: bool,
) -> None:
    """Compare a receipt with the current files and list the changes.

    FILE may be a DSSE envelope of a receipt. Without --key its signatures are not verified. A
    later commit is noted but does not invalidate a receipt: everything tested is hashed.

    \b
    Exit codes: 0 valid · 1 not valid · 2 unreadable
    """  # noqa: D301 - click's marker for an unwrapped paragraph
    content = _read_bytes(file)
    statement = _parse(content, file)
    manifest = manifest_path or _locate_manifest(statement, file)
    changes = receipt_inputs.find_changes(statement, manifest, binary)
    broken = (*_check_signature(content, key), *_describe_shut_gate(statement), *changes)
    unverified = (
        "its signatures were not verified: pass --key" if _is_unverified(content, key) else ""
    )
    note = "; ".join(filter(None, (unverified, _compare_checkout(statement, manifest))))
    if as_json:
        verification = Verification(holds=not broken, broken=broken, note=note)
        click.echo(render_json(verification), nl=False)
    else:
        _print(file, broken, note)
    ctx.exit(ExitCode.BLOCKED if broken else ExitCode.OK)


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
def show(file: Path) -> None:
    """Summarize a receipt in a few lines."""
    statement = _read(file)
    about = statement.circumstances
    binary, shard = statement.subject[0], about.shard
    part = f" shard {shard.number}/{shard.total} of run {shard.run}" if shard else ""
    result = statement.predicate.result
    click.echo(escape_controls(f"{result} {about.task}{part} at {about.tested_at}"))
    click.echo(escape_controls(f"  {binary.name} sha256 {binary.sha256}"))
    for name, outcome in about.outcomes.items():
        click.echo(escape_controls(f"  {outcome} {name}"))
    for warning in about.warnings or ():
        click.echo(escape_controls(f"  WARNING: {warning}"))
    for item in statement.predicate.configuration:
        click.echo(escape_controls(f"  {item.name} {item.sha256}".rstrip()))


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    required=True,
    help="Sign with this private key (PEM, unencrypted).",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="ENVELOPE",
    help="Write the envelope to ENVELOPE.  [default: FILE with the suffix .dsse]",
)
def sign(file: Path, key: Path, output: Path | None) -> None:
    """Write a DSSE envelope of a receipt, signed with a private key.

    A signature proves only who held the key. Sign in a CI service, under another user than the
    agents: any reader of the key can sign any receipt. A key that a sandbox shows is refused.
    """
    content = _read_bytes(file)
    _parse(content, file)
    if dsse.parse(content) is not None:
        raise UsageError(f"{file} is already an envelope", hint="pass the receipt itself")
    _refuse_visible_key(key, file)
    envelope = files.write(output or file.with_suffix(".dsse"), dsse.sign(content, key))
    click.echo(escape_controls(f"envelope: {envelope}"))


def _refuse_visible_key(key: Path, file: Path) -> None:
    """Refuse a key in a directory that sandboxes show, because any script could read it."""
    caller = Caller.current()
    shown = [
        Path(mount.target)
        for mount in build_host_mounts(
            caller.environment.get("PATH", os.defpath),
            caller.home,
            masked=caller.uid == 0,
            variables=caller.environment,
        )
    ]
    projects = (caller.working.resolve(), file.absolute().parent.resolve())
    shown += [git_top(project) or project for project in projects]
    real = key.resolve()
    inside = [directory for directory in shown if real.is_relative_to(directory)]
    if inside:
        raise UsageError(
            f"{key} is in {inside[0]}, which the sandboxes of scenarios show",
            hint="keep the key outside of the project, in a directory of another user",
        )


def _read(file: Path) -> Statement:
    return _parse(_read_bytes(file), file)


def _read_bytes(file: Path) -> bytes:
    try:
        return files.read(file)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}", hint="pass the file of a receipt") from error


def _parse(content: bytes, file: Path) -> Statement:
    """Return the receipt in a file or in an envelope."""
    envelope = dsse.parse(content)
    return receipt.parse(content if envelope is None else envelope.decode(str(file)), str(file))


def _is_unverified(content: bytes, key: Path | None) -> bool:
    return key is None and dsse.parse(content) is not None


def _check_signature(content: bytes, key: Path | None) -> tuple[str, ...]:
    """Return the reason why a receipt is not signed with a key, if one is required."""
    if key is None:
        return ()
    envelope = dsse.parse(content)
    if envelope is None:
        return ("the receipt is not signed",)
    try:
        signed = dsse.open_signed(content, [dsse.read_public_key(key)])
    except SignatureError as error:
        return (error.message,)
    is_shown = signed == envelope.decode(str(key))
    return () if is_shown else ("the envelope has another receipt than the signed one",)


def _describe_shut_gate(statement: Statement) -> tuple[str, ...]:
    if shard := statement.circumstances.shard:
        return (f"it is of shard {shard.number}/{shard.total}, which opens no gate",)
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
