"""A measurement: the honest run of each scenario, then its sabotaged runs."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic

from isosmoke.errors import EngineError, IsosmokeError
from isosmoke.execution import session
from isosmoke.execution.scheduler import Policy
from isosmoke.execution.session import Request, Session
from isosmoke.host import binary, state
from isosmoke.host.binary import Binary
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.results.events import Event
from isosmoke.results.outcome import Outcome
from isosmoke.results.run_results import ScenarioResult
from isosmoke.teeth import help_texts, rows, sabotaged_scenario, verdicts
from isosmoke.teeth.calls import effects, grammar
from isosmoke.teeth.calls.call_log import Call
from isosmoke.teeth.calls.grammar import Grammar
from isosmoke.teeth.rows import Row
from isosmoke.teeth.sabotages import STAGES, Sabotage
from isosmoke.teeth.stand_ins import RECORD, WATCH, Plan, StandInRegistry
from isosmoke.teeth.verdicts import Cell

_IDLE_JOBS = 4
"""A run that hangs needs no core, so there may be so many more of them at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementSettings:
    """The scenarios to measure, and how.

    `binary` is the option; `against` is another binary. `budget` limits the sabotaged runs, in
    seconds; `seed` then selects the sample. With `fresh`, results of past measurements are not
    used.
    """

    manifest: Manifest
    scenarios: tuple[Scenario, ...]
    sabotages: tuple[Sabotage, ...]
    binary: str | None
    engine: str
    jobs: int
    against: Path | None = None
    patterns: tuple[str, ...] = ()
    budget: float | None = None
    seed: int = 0
    fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The rows of the selected scenarios, in order.

    `left_out` is the number of cells that the budget did not allow, and `reused` the number of
    those from past measurements. `stopped` is the reason of an interrupt, or empty.
    """

    rows: tuple[Row, ...]
    binary: Binary
    left_out: int = 0
    reused: int = 0
    runs: int = 0
    seconds: float = 0.0
    stopped: str = ""


def measure(
    settings: MeasurementSettings,
    caller: Caller,
    *,
    notify: Callable[[Event], None],
    interrupt: Interrupt,
) -> Measurement:
    """Measure the teeth of scenarios.

    Raises:
        IsosmokeError: if the scenarios cannot be run, or there is no binary.
    """
    started_at = monotonic()
    with ExitStack() as stack:
        scratch = stack.enter_context(state.scratch())
        other = None if settings.against is None else binary.take(settings.against.absolute())
        registry = StandInRegistry(scratch, other)
        running = session.begin(
            Request(
                scenarios=settings.scenarios,
                manifest=settings.manifest.path,
                binary=settings.binary,
                engine=settings.engine,
                policy=Policy(jobs=settings.jobs, evidence="never"),
                record_in=scratch,
                stand_ins=registry,
            ),
            caller,
            notify=notify,
            interrupt=interrupt,
        )
        tested = running.preflight.context.binary
        if tested is None:
            raise IsosmokeError("there is no live binary to sabotage", hint=binary.HOW_TO_NAME)
        work = _Work(settings=settings, session=running, registry=registry, tested=tested)
        measured = work.run()
        return replace(measured, seconds=monotonic() - started_at, stopped=interrupt.reason)


@dataclass(slots=True, kw_only=True)
class _Honest:
    """The honest run of a scenario: its result and its calls."""

    scenario: Scenario
    result: ScenarioResult
    calls: tuple[Call, ...]

    def select(self, subcommand: str) -> tuple[Call, ...]:
        """Return the calls of a subcommand."""
        return tuple(call for call in self.calls if call.name == subcommand)


@dataclass(slots=True, kw_only=True)
class _Work:
    """A measurement in progress."""

    settings: MeasurementSettings
    session: Session
    registry: StandInRegistry
    tested: Binary
    _grammar: Grammar = field(default_factory=Grammar)
    _rows: dict[str, Row] = field(default_factory=dict)
    _keys: dict[str, str] = field(default_factory=dict)
    _runs: int = 0
    _reused: int = 0

    def run(self) -> Measurement:
        """Run everything that is not known yet."""
        self._load()
        todo = [scenario for scenario in self.settings.scenarios if not self._is_known(scenario)]
        honest = {each.scenario.name: each for each in self._run_honestly(todo)}
        pairs = [
            (each, subcommand)
            for each in honest.values()
            for subcommand in self._rows[each.scenario.name].subcommands
        ]
        left_out = self._run_pairs(pairs)
        for name in honest:
            if not self.session.preflight.interrupt.is_raised:
                rows.save(self._keys[name], self._rows[name])
        return Measurement(
            rows=tuple(
                self._rows[scenario.name]
                for scenario in self.settings.scenarios
                if scenario.name in self._rows
            ),
            binary=self.tested,
            left_out=left_out,
            reused=self._reused,
            runs=self._runs,
        )

    def _load(self) -> None:
        other = self.registry.other
        values = (self.tested.sha256, "" if other is None else other.sha256)
        self._keys = {
            scenario.name: rows.compute_key(
                self.settings.manifest,
                scenario,
                self.settings.engine,
                (*values, *self.settings.patterns),
            )
            for scenario in self.settings.scenarios
        }
        self._rows = {} if self.settings.fresh else rows.load(self._keys)
        self._reused = sum(len(row.cells) for row in self._rows.values())

    def _is_known(self, scenario: Scenario) -> bool:
        row = self._rows.get(scenario.name)
        return row is not None and row.passes and not row.find_missing(self.settings.sabotages)

    def _run_honestly(self, scenarios: Sequence[Scenario]) -> Iterator[_Honest]:
        """Yield the honest run of each scenario that passes; add a row for each scenario."""
        if not scenarios:
            return
        for scenario in scenarios:
            self.registry.register(scenario.name, Plan(mode=RECORD))
        results = self.session.run(scenarios)
        known = {result.name: self.registry.read_calls(result.name) for result in results}
        for scenario in scenarios:
            self.registry.forget(scenario.name)
        passing = [
            scenario
            for scenario, result in zip(scenarios, results, strict=True)
            if result.outcome in {Outcome.PASS, Outcome.FLAKY}
        ]
        watched = self._watch(passing)
        seen = [call for calls in known.values() for call in calls or () if not call.nested]
        if seen:
            self._grammar = help_texts.find_grammar(
                scenarios[0], seen, self.settings.patterns, self._run_command
            )
        for scenario, result in zip(scenarios, results, strict=True):
            recorded = known[scenario.name]
            if recorded is None and result.outcome in {Outcome.PASS, Outcome.FLAKY}:
                raise EngineError(
                    f"the calls of {scenario.name} were not recorded",
                    hint="choose --engine bubblewrap, and a disk for isosmoke's state that can "
                    "hold an overlay: isosmoke doctor",
                )
            calls = self._name_calls(recorded or ())
            calls = effects.add_effects(calls, self._name_calls(watched.get(scenario.name, ())))
            self._add_row(scenario, result, calls)
            if self._rows[scenario.name].passes:
                yield _Honest(scenario=scenario, result=result, calls=calls)

    def _watch(self, scenarios: Sequence[Scenario]) -> Mapping[str, tuple[Call, ...]]:
        """Return the calls of each scenario that passes while its calls are traced."""
        for scenario in scenarios:
            self.registry.register(scenario.name, Plan(mode=WATCH))
        results = self.session.run(scenarios) if scenarios else ()
        watched = {
            result.name: self.registry.read_calls(result.name) or ()
            for result in results
            if result.outcome in {Outcome.PASS, Outcome.FLAKY}
        }
        for scenario in scenarios:
            self.registry.forget(scenario.name)
        return watched

    def _run_command(self, scenario: Scenario, argv: tuple[str, ...]) -> ScenarioResult:
        (result,) = self.session.run((scenario,), argv)
        return result

    def _name_calls(self, calls: Sequence[Call]) -> tuple[Call, ...]:
        """Return the calls that the scenario made itself, named by the grammar."""
        return tuple(
            replace(
                call,
                name=grammar.name_call(
                    [word.decode(errors="surrogateescape") for word in call.argv[1:]],
                    self._grammar,
                ),
            )
            for call in calls
            if not call.nested
        )

    def _add_row(self, scenario: Scenario, result: ScenarioResult, calls: Sequence[Call]) -> None:
        past = self._rows.get(scenario.name)
        self._rows[scenario.name] = Row(
            name=scenario.name,
            outcome=result.outcome,
            reason=result.reported_attempt.reason or ("" if calls else "it does not call wg"),
            seconds=result.attempts[-1].phases.get("run", 0.0),
            subcommands=tuple(dict.fromkeys(call.name for call in calls)),
            cells=past.cells if past and past.passes else (),
        )

    def _run_pairs(self, pairs: list[tuple[_Honest, str]]) -> int:
        """Run the cells of scenarios and subcommands; return the number of cells left out."""
        budget = self.settings.budget
        if budget is None:
            self._run_batch(pairs)
            return 0
        random.Random(self.settings.seed).shuffle(pairs)  # noqa: S311 - a sample, not a secret
        deadline, size = monotonic() + budget, max(1, 2 * self.settings.jobs)
        while pairs and monotonic() < deadline:
            batch, pairs = pairs[:size], pairs[size:]
            self._run_batch(batch)
        return sum(len(self._list_missing(*pair)) for pair in pairs)

    def _list_missing(self, honest: _Honest, subcommand: str) -> list[Sabotage]:
        missing = self._rows[honest.scenario.name].find_missing(self.settings.sabotages)
        return [sabotage for name, sabotage in missing if name == subcommand]

    def _run_batch(self, pairs: Sequence[tuple[_Honest, str]]) -> None:
        for stage in STAGES:
            wanted = [
                (honest, (subcommand, sabotage))
                for honest, subcommand in pairs
                for sabotage in self._list_missing(honest, subcommand)
                if sabotage in stage
            ]
            remaining = [item for item in wanted if not self._decide(*item)]
            if remaining and not self.session.preflight.interrupt.is_raised:
                self._run_cells(remaining)

    def _decide(self, honest: _Honest, cell: tuple[str, Sabotage]) -> bool:
        """Add a cell that need not be run; return whether it was added."""
        row = self._rows[honest.scenario.name]
        known = [each for each in row.cells if each.subcommand == cell[0]]
        decided = verdicts.decide_without_run(cell, honest.select(cell[0]), known)
        if decided is not None:
            self._add_cell(honest, decided)
        return decided is not None

    def _add_cell(self, honest: _Honest, cell: Cell) -> None:
        row = self._rows[honest.scenario.name]
        self._rows[honest.scenario.name] = replace(row, cells=(*row.cells, cell))

    def _run_cells(self, cells: Sequence[tuple[_Honest, tuple[str, Sabotage]]]) -> None:
        scenarios = [
            sabotaged_scenario.create(
                honest.scenario,
                sabotage,
                number,
                seconds=honest.result.attempts[-1].phases.get("run", 0.0),
            )
            for number, (honest, (_, sabotage)) in enumerate(cells)
        ]
        for scenario, (honest, (subcommand, sabotage)) in zip(scenarios, cells, strict=True):
            self.registry.register(
                scenario.name,
                Plan(
                    mode=sabotage,
                    target=subcommand,
                    grammar=self._grammar,
                    answers=honest.select(subcommand) if sabotage is Sabotage.REPLAY else (),
                ),
            )
        hangs = all(sabotage is Sabotage.HANG for _, (_, sabotage) in cells)
        results = self._with_policy(hangs=hangs).run(scenarios)
        self._runs += len(results)
        for result, (honest, cell) in zip(results, cells, strict=True):
            calls = self.registry.read_calls(result.name)
            self._add_cell(honest, verdicts.judge(cell, result, calls))
            self.registry.forget(result.name)

    def _with_policy(self, *, hangs: bool) -> Session:
        """Return the session with the policy for sabotaged runs: most of them fail."""
        policy = Policy(
            jobs=self.settings.jobs * (_IDLE_JOBS if hangs else 1),
            evidence="never",
            confirms=frozenset() if hangs else frozenset({Outcome.TIMEOUT}),
        )
        return replace(self.session, request=replace(self.session.request, policy=policy))
