"""Prove that a scenario fails with a broken binary and passes with a fixed one."""

from functools import partial
from pathlib import Path
from typing import Literal

import click

from isosmoke.cli.document_kinds import DocumentKind
from isosmoke.cli.options import json_option, manifest_option, select_one
from isosmoke.cli.running import EngineOptions, build_repeat_command, create_progress, engine_option
from isosmoke.errors import ExitCode
from isosmoke.gate.proofs import proof, prover
from isosmoke.gate.proofs.proof import ProofStatement
from isosmoke.gate.proofs.prover import ProofRequest, ProofResult
from isosmoke.host import binary as binaries
from isosmoke.host import files
from isosmoke.host.caller_process import Caller, is_agent
from isosmoke.interrupt import Interrupt, interruptible
from isosmoke.results.events import Event
from isosmoke.results.exit_code import select_exit_code
from isosmoke.results.outcome import Outcome
from isosmoke.results.records.document_base import RecordModel, Text
from isosmoke.results.records.record_base import render_json
from isosmoke.results.run_results import RunResult
from isosmoke.text import escape_controls, shorten


class Proven(RecordModel):
    """A run of the scenario with one of the binaries."""

    outcome: Outcome
    reason: Text
    sha256: str
    run: Text


class ProveDocument(RecordModel):
    """The output of `isosmoke prove --json`.

    `fixed` is null if the scenario did not run with the fixed binary, because there already was an
    objection. `proof` is the path of the proof; null if there is an objection.
    """

    schema_version: Literal[1] = 1
    name: str
    proven: bool
    objections: tuple[Text, ...]
    broken: Proven
    fixed: Proven | None
    proof: Text | None


DOCUMENTS = {
    "prove": DocumentKind("prove NAME --json", ProveDocument),
    "proof": DocumentKind("what prove leaves in .isosmoke/proofs", ProofStatement),
}
"""The kinds of JSON documents that this command reads or writes."""


@click.command()
@click.argument("name")
@click.option(
    "--broken", required=True, metavar="BIN", help="A binary with which NAME has to fail."
)
@click.option("--fixed", required=True, metavar="BIN", help="A binary with which NAME has to pass.")
@click.option(
    "--accept",
    "accepted",
    multiple=True,
    type=click.Choice(list(proof.ACCEPTED)),
    help="Also accept this in place of a failed assertion; repeatable.",
)
@click.option(
    "--count",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    metavar="N",
    help="Run NAME N times with each binary.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write the proof to FILE, such as proofs/NAME.json next to the manifest.",
)
@manifest_option()
@engine_option()
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    name: str,
    broken: str,
    fixed: str,
    accepted: tuple[str, ...],
    count: int,
    output: Path | None,
    manifest_path: Path | None,
    engine: str,
    as_json: bool,
) -> None:
    """Prove that the scenario NAME notices: it fails with --broken, and passes with --fixed.

    It has to fail by its own exit, and not by a timeout, a skip, an error or a leak. The proof is a
    receipt of the scenario's entry, its script, the files that the script reads, and both binaries.
    `[gate] require_proof = true` in a manifest requires one for each new scenario.

    \b
    Exit codes: 0 proven · 1 not proven · 2 usage or manifest error
    125 engine or infrastructure error
    """  # noqa: D301 - click's marker for an unwrapped paragraph
    manifest, scenario = select_one(name, manifest_path)
    caller = Caller.current()
    request = ProofRequest(
        manifest=manifest,
        scenario=scenario,
        broken=_find_binary(broken, "--broken"),
        fixed=_find_binary(fixed, "--fixed"),
        engine=engine,
        accepted=tuple(dict.fromkeys(accepted)),
        count=count,
    )
    is_terse = as_json or is_agent(caller.environment)
    repeat = partial(build_repeat_command, manifest_path, EngineOptions(engine=engine))
    display = (lambda: _ignore) if is_terse else partial(create_progress, repeat, stderr=True)
    with interruptible() as interrupt:
        result = prover.prove(request, caller, create_display=display, interrupt=interrupt)
    if output is not None and result.saved is not None:
        files.write(output, files.read(result.saved))
    _print(scenario.name, result, as_json=as_json)
    ctx.exit(_select_exit_code(result, interrupt))


def _find_binary(path: str, option: str) -> Path:
    return binaries.check_executable(Path(path), option)


def _ignore(event: Event) -> None:
    """Ignore an event: the last lines are all that an agent needs."""


def _print(name: str, result: ProofResult, *, as_json: bool) -> None:
    document = ProveDocument(
        name=name,
        proven=result.saved is not None,
        objections=result.objections,
        broken=_describe(result.broken),
        fixed=_describe(result.fixed) if result.fixed else None,
        proof=str(result.saved) if result.saved else None,
    )
    if as_json:
        click.echo(render_json(document), nl=False)
        return
    click.echo(escape_controls(f"{'PROVEN' if document.proven else 'NOT PROVEN'} {name}"))
    for label, item in (("broken", document.broken), ("fixed", document.fixed)):
        if item is not None:
            reason = f"  {shorten(item.reason)}" if item.reason else ""
            click.echo(escape_controls(f"  {label:<7} {item.outcome}{reason}"))
    for objection in document.objections:
        click.echo(escape_controls(f"  because {shorten(objection)}"))
    if document.proof:
        click.echo(escape_controls(f"  proof   {document.proof}"))


def _describe(run: RunResult) -> Proven:
    (scenario,) = run.scenarios
    return Proven(
        outcome=scenario.outcome,
        reason=scenario.reported_attempt.reason,
        sha256=run.binary[1] if run.binary else "",
        run=run.record.name if run.record else "",
    )


def _select_exit_code(result: ProofResult, interrupt: Interrupt) -> ExitCode:
    if interrupt.is_raised:
        return interrupt.exit_code
    codes = [select_exit_code(run) for run in (result.broken, result.fixed) if run]
    if ExitCode.INFRASTRUCTURE in codes:
        return ExitCode.INFRASTRUCTURE
    return ExitCode.OK if result.saved else ExitCode.BLOCKED
