"""List completed tasks that have no valid receipt."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache, partial
from pathlib import Path

import click

from isosmoke.authoring import manifest_places
from isosmoke.cli.document_kinds import DocumentKind
from isosmoke.cli.options import find_manifest, json_option, manifest_option
from isosmoke.errors import IsosmokeError, UsageError
from isosmoke.gate import input_copies, receipt, receipt_inputs, receipt_writer, trusted_workers
from isosmoke.gate.audits import audit, graph_tasks
from isosmoke.gate.audits.audit import AuditedProject, Changes, ProjectBinary, Records
from isosmoke.gate.audits.committed_inputs import CommittedInputs
from isosmoke.gate.audits.graph_tasks import Graph
from isosmoke.gate.receipt import Statement
from isosmoke.history import gate_records, record_homes
from isosmoke.history.gate_records import BypassRecord
from isosmoke.host import binary, files
from isosmoke.host.caller_process import Caller
from isosmoke.manifest import discovery, loader
from isosmoke.manifest.models import Manifest
from isosmoke.results.records.document_base import RecordModel, Text
from isosmoke.results.records.finding import FindingsDocument, GateFinding
from isosmoke.results.records.record_base import render_json
from isosmoke.text import escape_controls, restore_bytes


class AuditFinding(RecordModel):
    """A finding in the form of former versions; a note has `weighs` false."""

    subject: Text
    words: Text
    weighs: bool


class AuditDocument(FindingsDocument):
    """The output of `isosmoke audit --json`; `findings` has all losses and notes once more."""

    findings: tuple[AuditFinding, ...]


DOCUMENTS = {
    "audit": DocumentKind("audit --json", AuditDocument),
    "bypass": DocumentKind("a line of .isosmoke/bypasses.jsonl", BypassRecord),
}
"""The kinds of JSON documents that this command reads or writes."""


@click.command()
@manifest_option()
@click.option("--strict", is_flag=True, help="Also fail if something changed since a receipt.")
@click.option(
    "--merged",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="DIR",
    help="Accept the record of a merge whose shards are signed as a receipt; repeatable.",
)
@click.option(
    "--key",
    "keys",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PUBLIC",
    help="Trust this key (PEM) for --merged instead of the committed [gate] shard_keys.",
)
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    manifest_path: Path | None,
    strict: bool,
    merged: tuple[Path, ...],
    keys: tuple[Path, ...],
    as_json: bool,
) -> None:
    """List every completed task that owns scenarios but has no receipt of an open gate for them.

    Recorded bypasses are listed as well. A new binary does not invalidate a receipt here.

    \b
    Exit codes: 0 clean · 1 findings · 2 no graph or manifest
    """  # noqa: D301 - click's marker for an unwrapped paragraph
    caller = Caller.current()
    manifest = loader.load(find_manifest(manifest_path))
    shards = tuple(_judge_merged(caller, manifest, merged, keys))
    findings = tuple(_find_problems(caller, manifest, manifest_path, shards))
    losses = [finding for finding in findings if finding.kind not in audit.NOTES]
    notes = [finding for finding in findings if finding.kind in audit.NOTES]
    document = FindingsDocument.collect(losses, notes)
    if as_json:
        click.echo(render_json(_create_document(document)), nl=False)
    else:
        _print(document, strict=strict)
    ctx.exit(document.select_exit_code(strict=strict))


def _judge_merged(
    caller: Caller, manifest: Manifest, directories: tuple[Path, ...], keys: tuple[Path, ...]
) -> Iterator[Statement | GateFinding]:
    """Yield the receipts of merged records, and the reasons why others do not count.

    Raises:
        UsageError: if `--key` is given without `--merged`, or a value cannot be used.
    """
    if not directories:
        if keys:
            raise UsageError("--key is of merged records", hint="pass --merged DIR, too")
        return
    from isosmoke.gate.signatures import dsse
    from isosmoke.shards import audited_merges

    pinned = (
        tuple(map(dsse.read_public_key, keys))
        if keys
        else audited_merges.read_pinned_keys(manifest.path, caller.environment)
    )
    records = audited_merges.MergedRecords(manifest.path, caller.environment, pinned)
    yield from records.judge(directories)


def _find_problems(
    caller: Caller,
    manifest: Manifest,
    option: Path | None,
    merged: Sequence[Statement | GateFinding],
) -> Iterator[GateFinding]:
    places = manifest_places.inspect_manifest(
        manifest.path, caller.working, caller.environment, option=option
    )
    yield from (*places.losses, *places.notes)
    yield from (each for each in merged if isinstance(each, GateFinding))
    committed = CommittedInputs(manifest.path.absolute(), caller.environment)
    changes = partial(_find_changes, manifest.path, committed)
    receipts = [each for each in merged if isinstance(each, Statement)]
    records = _load_records(caller, manifest)
    records = replace(records, receipts=[*records.receipts, *receipts])
    yield from audit.find_problems(
        _load_graph(caller),
        records,
        _describe_project(caller, manifest),
        changes,
    )


def _describe_project(caller: Caller, manifest: Manifest) -> AuditedProject:
    base = receipt_inputs.find_base(manifest.path)
    path = binary.find(None, caller.environment)
    tested = None
    if path is not None:
        paths = (receipt_inputs.shorten_path(path, base), str(path))
        tested = ProjectBinary(input_copies.compute_digest(path), paths)
    absolute = manifest.path.absolute()
    return AuditedProject(
        graph=str(discovery.find_graph_directory(caller.working, caller.environment)),
        manifests=frozenset(
            {receipt_writer.name_manifest(absolute), str(absolute), str(absolute.resolve())}
        ),
        scenarios=manifest.scenarios,
        binary=tested,
        is_gone=lambda graph: not Path(restore_bytes(graph)).parent.exists(),
        find_pins=cache(partial(trusted_workers.find_pins, manifest, caller=caller)),
    )


def _load_graph(caller: Caller) -> Graph:
    directory = discovery.find_graph_directory(caller.working, caller.environment)
    graph = _read_text(directory / "graph.jsonl")
    if graph is None:
        hint = "change to the project's directory, or set WG_DIR to its graph directory"
        raise UsageError(f"{directory}/graph.jsonl: no such file", hint)
    return graph_tasks.parse_graph(graph, _read_text(directory / "archive.jsonl") or "")


def _read_text(file: Path) -> str | None:
    """Return the content of a file; None if there is no such file.

    Raises:
        UsageError: if it cannot be read.
    """
    try:
        return files.read(file).decode(errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}", hint=f"ls -l {file}") from error


def _load_records(caller: Caller, manifest: Manifest) -> Records:
    own = gate_records.list_homes(manifest.path.absolute().parent, caller.environment)
    homes = dict.fromkeys((*record_homes.list_homes(caller, manifest.path), *own))
    bypasses = gate_records.list_bypasses(tuple(homes))
    receipts = {file: _load_receipt(file) for file in gate_records.list_receipts(tuple(homes))}
    valid = {file: each for file, each in receipts.items() if isinstance(each, Statement)}
    return Records(
        receipts=[*valid.values()],
        ends=dict(_list_ends(valid)),
        bypasses=[bypass for bypass in bypasses if isinstance(bypass, BypassRecord)],
        unreadable=[each for each in (*receipts.values(), *bypasses) if isinstance(each, str)],
    )


def _list_ends(receipts: Mapping[Path, Statement]) -> Iterator[tuple[tuple[str, str], datetime]]:
    for file, statement in receipts.items():
        if ended := graph_tasks.parse_time(gate_records.load_end(file)):
            about = statement.circumstances
            yield (about.task, about.tested_at), ended


def _load_receipt(file: Path) -> Statement | str:
    """Return the receipt in a file, or the path of the file if it holds none."""
    try:
        return receipt.parse(files.read(file, follow=False), str(file))
    except (OSError, UsageError):
        return str(file)


def _find_changes(path: Path, committed: CommittedInputs, statement: Statement) -> Changes:
    """Return the changes since a receipt, by the current manifest: its work tree may be gone."""
    try:
        differences = receipt_inputs.find_changed_inputs(statement, path)
        return Changes(differences, committed.find_uncommitted(statement))
    except IsosmokeError as error:
        return Changes((error.message,))


def _create_document(findings: FindingsDocument) -> AuditDocument:
    former = [
        AuditFinding(subject=finding.place, words=finding.message, weighs=weighs)
        for weighs, group in ((True, findings.losses), (False, findings.notes))
        for finding in group
    ]
    return AuditDocument(losses=findings.losses, notes=findings.notes, findings=tuple(former))


def _print(findings: FindingsDocument, *, strict: bool) -> None:
    for label, group in (("", findings.losses), ("note: ", findings.notes)):
        for finding in group:
            click.echo(escape_controls(f"{label}{finding}"))
    failing = len(findings.losses) + (len(findings.notes) if strict else 0)
    plural = "s" if failing > 1 else ""
    click.echo(f"audit: {failing} finding{plural}" if failing else "audit: clean")
