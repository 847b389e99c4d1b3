"""A measurement: the honest run of each scenario, then its sabotaged runs."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import field, replace
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from isosmoke.dataclass import dataclass
from isosmoke.engines import EngineChoice
from isosmoke.errors import IsosmokeError
from isosmoke.execution import session
from isosmoke.execution.request import Request
from isosmoke.execution.scheduler import Policy
from isosmoke.gate import input_copies, receipt_inputs
from isosmoke.gate.in_toto import Resource
from isosmoke.gate.input_copies import InputCopies
from isosmoke.gate.proofs.teeth_cells import Cell, Sabotage
from isosmoke.host import binary, state
from isosmoke.host.binary import Binary
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.results.events import Event
from isosmoke.teeth import sabotaged_runs, scenario_rows, verdicts
from isosmoke.teeth.honest_runs import HonestRun, HonestRunner
from isosmoke.teeth.sabotaged_runs import SabotagedRun
from isosmoke.teeth.sabotages import STAGES
from isosmoke.teeth.scenario_rows import Row
from isosmoke.teeth.stand_ins import StandInRegistry

if TYPE_CHECKING:  # only a measurement in a place needs it
    from isosmoke.execution.places.place import AttemptPlace


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementSettings:
    """The scenarios to measure, and how.

    `binary` is the option; `against` is another binary. With `subcommand`, only this one is
    sabotaged; with `declared`, only those in `teeth` of an entry. `budget` limits the sabotaged
    runs, in seconds; `seed` then selects the sample. `patterns` name the subcommands; None means
    those of the manifest. With `fresh`, results of past measurements are not used. The runs take
    place on the workers of `place`, which the option calls `place_name`; None is this machine.
    """

    manifest: Manifest
    scenarios: tuple[Scenario, ...]
    sabotages: tuple[Sabotage, ...]
    binary: str | None
    engine: str
    jobs: int
    against: Path | None = None
    patterns: tuple[str, ...] | None = None
    budget: float | None = None
    seed: int = 0
    fresh: bool = False
    subcommand: str | None = None
    declared: bool = False
    place: "AttemptPlace | None" = None
    place_name: str = ""

    @property
    def grammar_patterns(self) -> tuple[str, ...]:
        """The patterns that name subcommands."""
        return self.manifest.gate.teeth_patterns if self.patterns is None else self.patterns

    @property
    def has_own_patterns(self) -> bool:
        """True if the patterns are not those of the manifest, so that no gate counts a receipt."""
        return self.grammar_patterns != self.manifest.gate.teeth_patterns


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The rows of the selected scenarios, in order, and the inputs that each is bound to, by name.

    `left_out` is the number of cells that the budget did not allow, and `reused` the number of
    those from past measurements. `stopped` is the reason of an interrupt, or empty. `scripts` has
    the hash of the script of each scenario.
    """

    rows: tuple[Row, ...]
    binary: Binary
    inputs: Mapping[str, tuple[Resource, ...]]
    engine: str
    scripts: Mapping[str, str]
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
    with prepare(settings, caller, notify=notify, interrupt=interrupt) as work:
        return work.run()


@contextmanager
def prepare(
    settings: MeasurementSettings,
    caller: Caller,
    *,
    notify: Callable[[Event], None],
    interrupt: Interrupt,
) -> Iterator["Work"]:
    """Prepare the runs of a measurement; they end with the block.

    Raises:
        IsosmokeError: if the scenarios cannot be run, or there is no binary.
    """
    with ExitStack() as stack:
        scratch = stack.enter_context(state.scratch())
        paths = receipt_inputs.list_files(settings.manifest, settings.scenarios)
        copies = stack.enter_context(input_copies.copy_inputs(paths))
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
                copies=copies.root,
                place=settings.place,
            ),
            caller,
            notify=notify,
            interrupt=interrupt,
        )
        tested = running.preflight.context.binary
        if tested is None:
            raise IsosmokeError("there is no live binary to sabotage", hint=binary.HOW_TO_NAME)
        runner = HonestRunner(
            session=running, registry=registry, patterns=settings.grammar_patterns
        )
        yield Work(settings=settings, honest=runner, tested=tested, copies=copies)


@dataclass(kw_only=True)
class Work:
    """A measurement in progress; it runs copies of the scripts and of the files that they read."""

    settings: MeasurementSettings
    honest: HonestRunner
    tested: Binary
    copies: InputCopies
    _started_at: float = field(default_factory=monotonic)
    _rows: dict[str, Row] = field(default_factory=dict)
    _keys: dict[str, str] = field(default_factory=dict)
    _runs: int = 0
    _reused: int = 0

    def run(self) -> Measurement:
        """Run everything that is not known yet."""
        self._load()
        todo = [scenario for scenario in self.settings.scenarios if not self._is_known(scenario)]
        finished = self.honest.run(todo)
        for each in finished:
            self._add_row(each)
        passing = [each for each in finished if each.passes]
        self._save(passing)
        pairs = [
            (each, subcommand)
            for each in passing
            for subcommand in each.subcommands
            if self._is_wanted(each.scenario, subcommand)
        ]
        left_out = self._run_pairs(pairs)
        return Measurement(
            rows=tuple(
                self._rows[scenario.name]
                for scenario in self.settings.scenarios
                if scenario.name in self._rows
            ),
            binary=self.tested,
            inputs=self.inputs,
            engine=self.honest.session.preflight.engines.names,
            scripts={
                scenario.name: self.copies.compute_digest(scenario.script_path)
                for scenario in self.settings.scenarios
            },
            left_out=left_out,
            reused=self._reused,
            runs=self._runs,
            seconds=monotonic() - self._started_at,
            stopped=self._interrupt.reason,
        )

    def run_sabotaged(self, runs: Sequence[SabotagedRun]) -> tuple[Cell, ...]:
        """Run sabotaged scenarios, and return the cell of each."""
        cells = sabotaged_runs.run_all(
            runs,
            self.honest.session,
            self.honest.registry,
            grammar=self.honest.grammar,
            jobs=self.settings.jobs,
        )
        self._runs += len(cells)
        return cells

    def count_runs(self) -> int:
        """Return the number of sabotaged runs so far."""
        return self._runs

    @cached_property
    def inputs(self) -> Mapping[str, tuple[Resource, ...]]:
        """The inputs that the row of each scenario is bound to, with the hashes of the copies.

        In a place, the interpreters of this machine are none of them.
        """
        manifest, engines = self.settings.manifest, EngineChoice(self.settings.engine)
        compute = self.copies.compute_digest
        inputs = {
            scenario.name: receipt_inputs.collect_inputs(
                manifest, (scenario,), engines, compute_digest=compute
            )
            for scenario in self.settings.scenarios
        }
        if self.settings.place is None:
            return inputs
        return {name: receipt_inputs.drop_interpreters(found) for name, found in inputs.items()}

    @property
    def _interrupt(self) -> Interrupt:
        return self.honest.session.preflight.interrupt

    @property
    def _program(self) -> str:
        return self.tested.source.name

    def _is_wanted(self, scenario: Scenario, subcommand: str) -> bool:
        if self.settings.declared and subcommand not in scenario.teeth:
            return False
        return self.settings.subcommand in (None, subcommand)

    def _load(self) -> None:
        other = self.honest.registry.other
        place = [f"place {self.settings.place_name}"] if self.settings.place_name else []
        values = (self.tested.sha256, "" if other is None else other.sha256, *place)
        self._keys = {
            name: scenario_rows.compute_key(resources, (*values, *self.settings.grammar_patterns))
            for name, resources in self.inputs.items()
        }
        self._rows = {} if self.settings.fresh else scenario_rows.load(self._keys, self._program)
        self._reused = sum(len(row.cells) for row in self._rows.values())

    def _is_known(self, scenario: Scenario) -> bool:
        row = self._rows.get(scenario.name)
        if row is None or not row.passes:
            return False
        missing = row.find_missing(self.settings.sabotages)
        return not any(self._is_wanted(scenario, subcommand) for subcommand, _ in missing)

    def _add_row(self, honest: HonestRun) -> None:
        name, result = honest.scenario.name, honest.result
        past = self._rows.get(name)
        nothing = "" if honest.calls else f"it does not call {self._program}"
        self._rows[name] = Row(
            name=name,
            outcome=result.outcome,
            reason=result.reported_attempt.reason or nothing,
            seconds=honest.seconds,
            subcommands=honest.subcommands,
            cells=past.cells if past and past.passes else (),
            program=self._program,
        )

    def _run_pairs(self, pairs: list[tuple[HonestRun, str]]) -> int:
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

    def _list_missing(self, honest: HonestRun, subcommand: str) -> list[Sabotage]:
        missing = self._rows[honest.scenario.name].find_missing(self.settings.sabotages)
        return [sabotage for name, sabotage in missing if name == subcommand]

    def _run_batch(self, pairs: Sequence[tuple[HonestRun, str]]) -> None:
        """Run the cells of these pairs in stages, and store the results."""
        for stage in STAGES:
            wanted = [
                SabotagedRun(honest=honest, subcommand=subcommand, sabotage=sabotage)
                for honest, subcommand in pairs
                for sabotage in self._list_missing(honest, subcommand)
                if sabotage in stage
            ]
            remaining = [run for run in wanted if not self._decide(run)]
            if remaining and not self._interrupt.is_raised:
                for run, cell in zip(remaining, self.run_sabotaged(remaining), strict=True):
                    self._add_cell(run, cell)
            self._save([honest for honest, _ in pairs])

    def _save(self, honest: Sequence[HonestRun]) -> None:
        for name in {run.scenario.name for run in honest}:
            scenario_rows.save(self._keys[name], self._rows[name])

    def _decide(self, run: SabotagedRun) -> bool:
        """Add a cell that need not be run; return whether it was added."""
        row = self._rows[run.honest.scenario.name]
        known = [each for each in row.cells if each.subcommand == run.subcommand]
        calls = run.honest.select(run.subcommand)
        decided = verdicts.decide_without_run((run.subcommand, run.sabotage), calls, known)
        if decided is not None:
            self._add_cell(run, decided)
        return decided is not None

    def _add_cell(self, run: SabotagedRun, cell: Cell) -> None:
        row = self._rows[run.honest.scenario.name]
        self._rows[row.name] = replace(row, cells=(*row.cells, cell))
