"""Name the done tasks that no receipt speaks for."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import click

from isosmoke.cli.json_documents import Written
from isosmoke.cli.options import json_option, manifest_file, manifest_option
from isosmoke.errors import ExitCode, IsosmokeError, UsageError
from isosmoke.gate import audit, receipt, receipt_inputs
from isosmoke.gate.audit import Finding, Graph, Records
from isosmoke.gate.receipt import Statement
from isosmoke.history import gate_records
from isosmoke.history.gate_records import BypassRecord
from isosmoke.host.caller_process import Caller
from isosmoke.manifest import discovery, loader
from isosmoke.manifest.models import Manifest
from isosmoke.results import run_record
from isosmoke.results.run_record import RecordModel
from isosmoke.text import printable


class Document(RecordModel):
    """What `isosmoke audit --json` prints: also what does not weigh."""

    schema_version: Literal[1] = 1
    findings: tuple[Finding, ...]


DOCUMENTS = {
    "audit": Written("audit --json", Document),
    "bypass": Written("a line of .isosmoke/bypasses.jsonl", BypassRecord),
}
"""The kinds of JSON documents that this command is about."""


@click.command()
@manifest_option()
@click.option("--strict", is_flag=True, help="Also count what changed since a receipt.")
@json_option
@click.pass_context
def command(ctx: click.Context, manifest_path: Path | None, *, strict: bool, as_json: bool) -> None:
    """Name every done task that owns scenarios and has no receipt of an open gate for them.

    Every recorded bypass is named as well. A new binary voids nothing here.

    \b
    Exit codes: 0 clean · 1 something was found · 2 no graph or manifest
    """  # noqa: D301 - click's marker for a paragraph that is not to be wrapped
    caller = Caller.here()
    loaded = loader.load(manifest_file(manifest_path))
    changes = partial(_changes, loaded.path)
    records = _records(caller, loaded)
    found = tuple(audit.findings(_graph(caller), loaded.scenarios, records, changes))
    weighing = [one for one in found if one.weighs or strict]
    if as_json:
        click.echo(run_record.render(Document(findings=found)), nl=False)
    else:
        _tell(found, len(weighing))
    ctx.exit(ExitCode.BLOCKED if weighing else ExitCode.OK)


def _graph(caller: Caller) -> Graph:
    file = discovery.graph_folder(caller.working, caller.environment) / "graph.jsonl"
    try:
        return audit.read(file.read_bytes().decode(errors="replace"))
    except OSError as error:
        hint = "change to the project's folder, or name its graph folder with WG_DIR"
        raise UsageError(f"{file}: {error.strerror}", hint) from error


def _records(caller: Caller, loaded: Manifest) -> Records:
    places = (caller.working, loaded.path.absolute().parent)
    homes = dict.fromkeys(
        one for at in places for one in gate_records.homes(at, caller.environment)
    )
    listed = gate_records.bypasses(tuple(homes))
    receipts = [_receipt(one) for one in gate_records.receipts(tuple(homes))]
    return Records(
        receipts=[one for one in receipts if isinstance(one, Statement)],
        bypasses=[one for one in listed if isinstance(one, BypassRecord)],
        spoiled=[one for one in (*receipts, *listed) if isinstance(one, str)],
    )


def _receipt(file: Path) -> Statement | str:
    """The receipt in a file, or where it is, if it is none."""
    try:
        return receipt.parse(file.read_bytes(), str(file))
    except (OSError, UsageError):
        return str(file)


def _changes(path: Path, then: Statement) -> Sequence[str]:
    """What changed since, by the manifest of today: the work tree of then may be gone."""
    try:
        return receipt_inputs.changed_inputs(then, path)
    except IsosmokeError as error:
        return (error.message,)


def _tell(found: Sequence[Finding], weighing: int) -> None:
    for one in found:
        click.echo(printable(f"{'' if one.weighs else 'note: '}{one.subject}: {one.words}"))
    click.echo(f"audit: {weighing} to look at" if weighing else "audit: clean")
