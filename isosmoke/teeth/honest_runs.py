"""Honest runs: with the real binary, while a stand-in in its place records the calls."""

from collections.abc import Mapping, Sequence
from dataclasses import field, replace

from isosmoke.dataclass import dataclass
from isosmoke.errors import EngineError
from isosmoke.execution.session import Session
from isosmoke.manifest.models import Scenario
from isosmoke.results.outcome import Outcome
from isosmoke.results.run_results import ScenarioResult
from isosmoke.teeth import stand_ins
from isosmoke.teeth.calls import effects, grammar, help_texts
from isosmoke.teeth.calls.call_log import Call
from isosmoke.teeth.calls.grammar import Grammar
from isosmoke.teeth.stand_ins import RECORD, TRACE_FILE, WATCH, Plan, StandInRegistry

PASSING = frozenset({Outcome.PASS, Outcome.FLAKY})


@dataclass(frozen=True, slots=True, kw_only=True)
class HonestRun:
    """The honest run of a scenario: its result and its calls, in order."""

    scenario: Scenario
    result: ScenarioResult
    calls: tuple[Call, ...]

    @property
    def passes(self) -> bool:
        """True if it passed, so that a later failure can be due to a sabotage."""
        return self.result.outcome in PASSING

    @property
    def seconds(self) -> float:
        """The duration of the script, in seconds."""
        return self.result.attempts[-1].phases.get("run", 0.0)

    @property
    def subcommands(self) -> tuple[str, ...]:
        """The subcommands that the scenario calls, in order."""
        return tuple(dict.fromkeys(call.name for call in self.calls))

    def select(self, subcommand: str) -> tuple[Call, ...]:
        """Return the calls of a subcommand."""
        return tuple(call for call in self.calls if call.name == subcommand)


@dataclass(slots=True, kw_only=True)
class HonestRunner:
    """Runs scenarios honestly. `grammar` names the calls; the first runs find it out."""

    session: Session
    registry: StandInRegistry
    patterns: tuple[str, ...]
    grammar: Grammar = field(default_factory=Grammar)

    def run(self, scenarios: Sequence[Scenario]) -> tuple[HonestRun, ...]:
        """Run scenarios to record their calls, and those that pass once more to trace effects.

        Raises:
            EngineError: if the calls of a scenario that passes were not recorded.
        """
        if not scenarios:
            return ()
        for scenario in scenarios:
            self.registry.register(scenario.name, Plan(mode=RECORD))
        results = self._run_all(scenarios)
        known = [self._take_calls(result) for result in results]
        passing = {result.name for result in results if result.outcome in PASSING}
        watched = self._watch([item for item in scenarios if item.name in passing])
        seen = [call for calls in known for call in calls if not call.nested]
        if seen:
            self.grammar = help_texts.find_grammar(
                scenarios[0], seen, self.patterns, self._run_command
            )
        return tuple(
            HonestRun(
                scenario=scenario,
                result=result,
                calls=effects.add_effects(
                    self._name_calls(calls), self._name_calls(watched.get(scenario.name, ()))
                ),
            )
            for scenario, result, calls in zip(scenarios, results, known, strict=True)
        )

    def run_traced(self, scenario: Scenario) -> HonestRun:
        """Run a scenario once more, and also record the line of its script that makes each call.

        The names are those of the `grammar` that earlier runs found.
        """
        traced = scenario.change(env={**scenario.env, "BASH_ENV": str(TRACE_FILE)})
        self.registry.register(traced.name, Plan(mode=RECORD, traces_lines=True))
        (result,) = self._run_all((traced,))
        calls = self._name_calls(self._take_calls(result))
        return HonestRun(scenario=scenario, result=result, calls=calls)

    def _run_all(self, scenarios: Sequence[Scenario]) -> Sequence[ScenarioResult]:
        return self.session.run([*map(stand_ins.allow_stand_in, scenarios)])

    def _take_calls(self, result: ScenarioResult) -> tuple[Call, ...]:
        """Return the calls of a finished run, and drop their log."""
        calls = self.registry.read_calls(result.name)
        self.registry.forget(result.name)
        if calls is None and result.outcome in PASSING:
            raise EngineError(
                f"the calls of {result.name} were not recorded",
                hint="choose --engine bubblewrap, and a disk for isosmoke's state that can "
                "hold an overlay: isosmoke doctor",
            )
        return calls or ()

    def _watch(self, scenarios: Sequence[Scenario]) -> Mapping[str, tuple[Call, ...]]:
        """Return the calls of each scenario that passes while its calls are traced."""
        for scenario in scenarios:
            self.registry.register(scenario.name, Plan(mode=WATCH))
        results = self._run_all(scenarios) if scenarios else ()
        watched = {
            result.name: self.registry.read_calls(result.name) or ()
            for result in results
            if result.outcome in PASSING
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
                    self.grammar,
                ),
            )
            for call in calls
            if not call.nested
        )
