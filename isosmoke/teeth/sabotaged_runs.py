"""Sabotaged runs: the scenario of each, its stand-in, and its verdict."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from isosmoke.dataclass import dataclass
from isosmoke.execution.scheduler import Policy
from isosmoke.execution.session import Session
from isosmoke.gate.proofs.teeth_cells import Cell, Sabotage, Verdict
from isosmoke.manifest.models import Leaks, Scenario
from isosmoke.results.outcome import Outcome
from isosmoke.teeth import stand_ins, verdicts
from isosmoke.teeth.calls.grammar import Grammar
from isosmoke.teeth.honest_runs import HonestRun
from isosmoke.teeth.stand_ins import Plan, StandInRegistry

MIN_SECONDS = 30
"""The shortest deadline of a sabotaged run, in seconds; the scenario's own may be shorter."""

_SLOWNESS = 3
"""A sabotaged run may take so many times as long as the honest one."""

_IDLE_JOBS = 4
"""A run that hangs needs no core, so there may be so many more of them at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SabotagedRun:
    """A sabotage of a subcommand in a scenario.

    `only` is the number of the call to sabotage, from 0; None sabotages all calls.
    """

    honest: HonestRun
    subcommand: str
    sabotage: Sabotage
    only: int | None = None

    def plan(self, grammar: Grammar) -> Plan:
        """Return the task of the stand-in."""
        answers = self.honest.select(self.subcommand) if self.sabotage is Sabotage.REPLAY else ()
        return Plan(
            mode=self.sabotage,
            target=self.subcommand,
            grammar=grammar,
            answers=answers if self.only is None else answers[self.only :][:1],
            only=self.only,
        )


def run_all(
    runs: Sequence[SabotagedRun],
    session: Session,
    registry: StandInRegistry,
    *,
    grammar: Grammar,
    jobs: int,
) -> tuple[Cell, ...]:
    """Run all, and return the cell of each.

    A run that ended before the sabotaged call says nothing about it, as when an unstable scenario
    or a busy machine made an earlier step fail. It is run once more, without others next to it.
    """
    cells = _run_once(runs, session, registry, grammar=grammar, jobs=jobs, first=0)
    missed = [number for number, cell in enumerate(cells) if cell.verdict is Verdict.VOID]
    repeated = _run_once(
        [runs[number] for number in missed],
        session,
        registry,
        grammar=grammar,
        jobs=1,
        first=len(runs),
    )
    latest = {**dict(enumerate(cells)), **dict(zip(missed, repeated, strict=True))}
    return tuple(latest.values())


def _run_once(
    runs: Sequence[SabotagedRun],
    session: Session,
    registry: StandInRegistry,
    *,
    grammar: Grammar,
    jobs: int,
    first: int,
) -> tuple[Cell, ...]:
    """Run all as scenarios that are numbered from `first`, and return the cell of each."""
    if not runs:
        return ()
    scenarios = [
        create_scenario(run.honest.scenario, run.sabotage, number, seconds=run.honest.seconds)
        for number, run in enumerate(runs, first)
    ]
    for scenario, run in zip(scenarios, runs, strict=True):
        registry.register(scenario.name, run.plan(grammar))
    hangs = all(run.sabotage is Sabotage.HANG for run in runs)
    results = _with_policy(session, jobs, hangs=hangs).run(scenarios)
    cells = []
    for result, run in zip(results, runs, strict=True):
        calls = registry.read_calls(result.name)
        cells.append(verdicts.judge((run.subcommand, run.sabotage), result, calls))
        registry.forget(result.name)
    return tuple(cells)


def _with_policy(session: Session, jobs: int, *, hangs: bool) -> Session:
    """Return the session with the policy for sabotaged runs: most of them fail."""
    policy = Policy(
        jobs=jobs * (_IDLE_JOBS if hangs else 1),
        evidence="never",
        confirms=frozenset() if hangs else frozenset({Outcome.TIMEOUT}),
    )
    return replace(session, request=replace(session.request, policy=policy))


def create_scenario(
    scenario: Scenario, sabotage: Sabotage, number: int, *, seconds: float
) -> Scenario:
    """Return a scenario with its own name, which its script cannot tell from the real one.

    Its deadline follows from the duration of the honest run, `seconds`. A process that a sabotage
    leaves on purpose is a leak under any policy.
    """
    variables: Mapping[str, str] = {
        "WG_SMOKE_SCENARIO": scenario.name,
        "WG_SMOKE_TIMEOUT_SECS": str(scenario.timeout_seconds),
        **scenario.env,
    }
    is_orphan = sabotage is Sabotage.ORPHAN
    leaks = Leaks() if is_orphan else stand_ins.allow_stand_in(scenario).leaks
    deadline = max(MIN_SECONDS, math.ceil(_SLOWNESS * seconds))
    return scenario.change(
        name=f"{scenario.name}.{sabotage}.{number}",
        timeout_seconds=min(scenario.timeout_seconds, deadline),
        retries=0,
        env=variables,
        leaks=leaks,
    )
