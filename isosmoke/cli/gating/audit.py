"""List completed tasks that have no valid receipt."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import click

from isosmoke.cli.json_documents import DocumentKind
from isosmoke.cli.options import find_manifest, json_option, manifest_option
from isosmoke.errors import ExitCode, IsosmokeError, UsageError
from isosmoke.gate import audit, receipt, receipt_inputs
from isosmoke.gate.audit import Finding, Graph, Records
from isosmoke.gate.receipt import Statement
from isosmoke.history import gate_records
from isosmoke.history.gate_records import BypassRecord
from isosmoke.host import files
from isosmoke.host.caller_process import Caller
from isosmoke.manifest import discovery, loader
from isosmoke.manifest.models import Manifest
from isosmoke.results import run_record
from isosmoke.results.run_record import RecordModel
from isosmoke.text import escape_controls


class AuditDocument(RecordModel):
    """The output of `isosmoke audit --json`, including findings that are only notes."""

    schema_version: Literal[1] = 1
    findings: tuple[Finding, ...]


DOCUMENTS = {
    "audit": DocumentKind("audit --json", AuditDocument),
    "bypass": DocumentKind("a line of .isosmoke/bypasses.jsonl", BypassRecord),
}
"""The kinds of JSON documents that this command reads or writes."""


@click.command()
@manifest_option()
@click.option("--strict", is_flag=True, help="Also fail if something changed since a receipt.")
@json_option
@click.pass_context
def command(ctx: click.Context, manifest_path: Path | None, *, strict: bool, as_json: bool) -> None:
    """List every completed task that owns scenarios but has no receipt of an open gate for them.

    Recorded bypasses are listed as well. A new binary does not invalidate a receipt here.

    \b
    Exit codes: 0 clean · 1 findings · 2 no graph or manifest
    """  # noqa: D301 - click's marker for an unwrapped paragraph
    caller = Caller.current()
    manifest = loader.load(find_manifest(manifest_path))
    changes = partial(_list_changes, manifest.path)
    records = _load_records(caller, manifest)
    findings = tuple(audit.find_problems(_load_graph(caller), manifest.scenarios, records, changes))
    failing = [finding for finding in findings if finding.weighs or strict]
    if as_json:
        click.echo(run_record.render(AuditDocument(findings=findings)), nl=False)
    else:
        _print(findings, len(failing))
    ctx.exit(ExitCode.BLOCKED if failing else ExitCode.OK)


def _load_graph(caller: Caller) -> Graph:
    file = discovery.find_graph_directory(caller.working, caller.environment) / "graph.jsonl"
    try:
        return audit.parse_graph(files.read(file).decode(errors="replace"))
    except OSError as error:
        hint = "change to the project's directory, or set WG_DIR to its graph directory"
        raise UsageError(f"{file}: {error.strerror}", hint) from error


def _load_records(caller: Caller, manifest: Manifest) -> Records:
    directories = (caller.working, manifest.path.absolute().parent)
    homes = dict.fromkeys(
        home
        for directory in directories
        for home in gate_records.list_homes(directory, caller.environment)
    )
    bypasses = gate_records.list_bypasses(tuple(homes))
    receipts = [_load_receipt(file) for file in gate_records.list_receipts(tuple(homes))]
    return Records(
        receipts=[receipt for receipt in receipts if isinstance(receipt, Statement)],
        bypasses=[bypass for bypass in bypasses if isinstance(bypass, BypassRecord)],
        unreadable=[record for record in (*receipts, *bypasses) if isinstance(record, str)],
    )


def _load_receipt(file: Path) -> Statement | str:
    """Return the receipt in a file, or the path of the file if it holds none."""
    try:
        return receipt.parse(files.read(file, follow=False), str(file))
    except (OSError, UsageError):
        return str(file)


def _list_changes(path: Path, statement: Statement) -> Sequence[str]:
    """Return the changes since a receipt, by the current manifest: its work tree may be gone."""
    try:
        return receipt_inputs.find_changed_inputs(statement, path)
    except IsosmokeError as error:
        return (error.message,)


def _print(findings: Sequence[Finding], failing: int) -> None:
    for finding in findings:
        label = "" if finding.weighs else "note: "
        click.echo(escape_controls(f"{label}{finding.subject}: {finding.words}"))
    plural = "s" if failing > 1 else ""
    click.echo(f"audit: {failing} finding{plural}" if failing else "audit: clean")
