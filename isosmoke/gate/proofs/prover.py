"""Making a proof: the scenario runs with both binaries, and the proof is written."""

from collections.abc import Callable, Iterator
from dataclasses import field
from functools import partial
from pathlib import Path

from isosmoke.dataclass import dataclass
from isosmoke.errors import UsageError
from isosmoke.execution import session
from isosmoke.execution.request import Request
from isosmoke.execution.scheduler import Policy
from isosmoke.gate import bound_run, in_toto, receipt_inputs, receipt_writer
from isosmoke.gate.bound_run import BoundRun
from isosmoke.gate.proofs import proof
from isosmoke.gate.proofs.proof import ProofCircumstances, ProvenBinary
from isosmoke.history import gate_records, record_homes
from isosmoke.host import files
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.results.events import Event
from isosmoke.results.run_results import Attempt, RunResult, ScenarioResult


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRequest:
    """A scenario to prove, the binaries, and the ways to fail that are accepted in addition.

    The scenario runs `count` times with each binary, without retries.
    """

    manifest: Manifest
    scenario: Scenario
    broken: Path
    fixed: Path
    engine: str
    accepted: tuple[str, ...] = ()
    count: int = 1


@dataclass(frozen=True, slots=True)
class ProofResult:
    """The runs with both binaries, and why they are no proof; `fixed` may not have been tried.

    `saved` is the path of the proof; None if there is an objection.
    """

    broken: RunResult
    fixed: RunResult | None
    objections: tuple[str, ...] = ()
    saved: Path | None = field(default=None)


def prove(
    request: ProofRequest,
    caller: Caller,
    *,
    create_display: Callable[[], Callable[[Event], None]],
    interrupt: Interrupt,
) -> ProofResult:
    """Run the scenario with both binaries, and write the proof if there is no objection.

    `create_display` returns a new consumer of the events of one run.

    Raises:
        IsosmokeError: if an input cannot be read, a run cannot start, or no home is writable.
    """
    if files.sha256(request.broken) == files.sha256(request.fixed):
        raise UsageError(
            "--broken and --fixed are the same binary",
            hint="build one without the change that the scenario is about",
        )
    execute = partial(_execute, caller, create_display, interrupt)
    homes = record_homes.list_homes(caller, request.manifest.path)
    first = _run(request, request.broken, caller, execute)
    objections = (*_object_to_broken(request, first),)
    if objections or interrupt.is_raised:
        return ProofResult(first.result, None, objections)
    second = _run(request, request.fixed, caller, execute)
    objections = (*_object_to_fixed(second), *in_toto.list_differences(first.inputs, second.inputs))
    if objections or interrupt.is_raised:
        return ProofResult(first.result, second.result, objections)
    statement = proof.create_proof(_describe(request, first, second), second.inputs)
    saved = gate_records.save_proof(homes, request.scenario.name, in_toto.render(statement))
    return ProofResult(first.result, second.result, (), saved)


def _execute(
    caller: Caller,
    create_display: Callable[[], Callable[[Event], None]],
    interrupt: Interrupt,
    request: Request,
) -> RunResult:
    return session.execute(request, caller, notify=create_display(), interrupt=interrupt)


def _run(
    request: ProofRequest,
    binary: Path,
    caller: Caller,
    execute: Callable[[Request], RunResult],
) -> BoundRun:
    run = Request(
        scenarios=(request.scenario,),
        manifest=request.manifest.path,
        retention=request.manifest.record,
        binary=str(binary),
        engine=request.engine,
        policy=Policy(retries=0, repeat=request.count),
    )
    return bound_run.execute(request.manifest, run, caller.environment, execute)


def _object_to_broken(request: ProofRequest, run: BoundRun) -> Iterator[str]:
    yield from run.changes
    for attempt in _list_attempts(run):
        if objection := proof.find_objection_to_broken(attempt, request.accepted):
            yield objection
            return


def _object_to_fixed(run: BoundRun) -> Iterator[str]:
    yield from run.changes
    yield from filter(None, map(proof.find_objection_to_fixed, _list_attempts(run)))


def _list_attempts(run: BoundRun) -> tuple[Attempt, ...]:
    (scenario,) = run.result.scenarios
    return scenario.attempts


def _describe(request: ProofRequest, first: BoundRun, second: BoundRun) -> ProofCircumstances:
    return ProofCircumstances(
        scenario=request.scenario.name,
        tested_at=receipt_writer.format_now(),
        manifest=receipt_writer.name_manifest(request.manifest.path),
        broken=_describe_binary(request, first.result),
        fixed=_describe_binary(request, second.result),
        count=request.count,
        accepted=request.accepted,
        repository=second.commit.checkout,
        engine=second.result.engine,
    )


def _describe_binary(request: ProofRequest, run: RunResult) -> ProvenBinary:
    base = receipt_inputs.find_base(request.manifest.path)
    path, sha256 = run.binary or (Path(), "")
    (scenario,) = run.scenarios
    return ProvenBinary(
        path=receipt_inputs.shorten_path(path, base),
        sha256=sha256,
        outcome=scenario.outcome,
        reason=_explain(scenario),
        run=run.record.name if run.record else "",
    )


def _explain(scenario: ScenarioResult) -> str:
    return scenario.reported_attempt.reason
