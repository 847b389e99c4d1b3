"""The rules `[gate] require_proof` and `require_teeth`: a new scenario needs a statement.

With the first rule it needs a proof that it fails with a broken binary. With the second one, it and
a rewritten scenario need a receipt that they notice the failures that they declare.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from isosmoke.authoring.growth import comparison
from isosmoke.authoring.growth.comparison import BlamedLoss, CheckRequest, Comparison
from isosmoke.authoring.growth.losses import GATE, Loss
from isosmoke.dataclass import dataclass
from isosmoke.errors import IsosmokeError, ManifestError, RecordError, UsageError
from isosmoke.gate import in_toto, input_copies, receipt_inputs
from isosmoke.gate.bound_run import BoundRun
from isosmoke.gate.in_toto import Resource, ResultStatement
from isosmoke.gate.proofs import proof, teeth_receipt
from isosmoke.gate.proofs.lack import Lack
from isosmoke.gate.proofs.proof import ProofStatement
from isosmoke.gate.proofs.teeth_receipt import Present, TeethStatement
from isosmoke.history import gate_records, record_homes
from isosmoke.host import binary, files
from isosmoke.host.caller_process import Caller
from isosmoke.keeper import STAND_IN_FILE
from isosmoke.manifest import loader
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.results.outcome import Outcome
from isosmoke.text import quote_command

COMMITTED = "proofs"
"""The directory next to a manifest for proofs and receipts of teeth that are committed."""

UNPROVEN = "scenario-unproven"
"""The kind of the loss of a new scenario without a proof."""

TOOTHLESS = "scenario-toothless"
"""The kind of the loss of a new or rewritten scenario without a receipt of teeth."""

_UNPROVEN_TEXT = "is new and has no proof that it fails with a broken binary ([gate] require_proof)"

_UNREVIEWED_TEXT = "counts by no receipt while a change of [gate] teeth_patterns is not reviewed"

_AnyStatement = TypeVar("_AnyStatement", bound=ResultStatement)


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """The rules of a manifest, and the statements that the caller has for its scenarios.

    `tested` is the hash of the binary that a gate tests, empty without one; None is any binary.
    `options` are those of a command for the same manifest and binary.
    """

    manifest: Manifest
    caller: Caller
    tested: str | None = None
    options: Sequence[str] = ()

    def find_lacks(self, scenarios: Iterable[Scenario]) -> tuple[Lack, ...]:
        """Return what these scenarios lack, by the rules of their manifest.

        Without a repository, or without anything to compare with, every scenario is new.

        Raises:
            IsosmokeError: if the statements or the history cannot be read.
        """
        gate = self.manifest.gate
        if not (gate.require_proof or gate.require_teeth):
            return ()
        selected, result = tuple(scenarios), self._compare()
        if result is None:
            return (*self._list_unproven(selected), *self._list_toothless(selected, ()))
        return (*self.list_lacks(selected, result),)

    def list_lacks(self, scenarios: Iterable[Scenario], result: Comparison) -> Iterator[Lack]:
        """Yield what those of the scenarios lack that are new or rewritten by a comparison."""
        selected = tuple(scenarios)
        yield from self._list_unproven([item for item in selected if item.name in result.added])
        yield from self._list_toothless(
            [item for item in selected if item.name in result.rewritten], result.blamed
        )

    def read_inputs(self, scenarios: Collection[Scenario]) -> tuple[Resource, ...]:
        """Return what a judgement of scenarios that run is about, before it: none without rules.

        Raises:
            IsosmokeError: if a script or a file cannot be read.
        """
        gate = self.manifest.gate
        if not (gate.require_proof or gate.require_teeth):
            return ()
        return receipt_inputs.collect_own_inputs(self.manifest, scenarios)

    def bind(self, run: BoundRun, judged: Sequence[Resource]) -> BoundRun:
        """Return a run with a change for each input that differs from the `judged` ones.

        They were read before the rules were applied. So was the binary of the receipts of teeth.
        """
        changes = in_toto.list_differences(judged, _select_bound(run.inputs)) if judged else ()
        path, sha256 = run.result.binary or (Path(), "")
        if self.manifest.gate.require_teeth and sha256 != self.tested:
            changes = (*changes, f"binary {path.name} changed")
        return replace(run, changes=tuple(dict.fromkeys((*run.changes, *changes))))

    def _compare(self) -> Comparison | None:
        request = CheckRequest(
            working=self.caller.working,
            environment=self.caller.environment,
            manifest=self.manifest.path,
        )
        try:
            return comparison.compare(request)
        except UsageError:
            return None

    def _list_unproven(self, scenarios: Collection[Scenario]) -> Iterator[Lack]:
        if not (self.manifest.gate.require_proof and scenarios):
            return
        proofs = [*self._load(proof.parse)]
        for scenario in scenarios:
            if not any(self._is_proof(item, scenario) for item in proofs):
                yield Lack(
                    scenario=scenario.name,
                    rule="require_proof",
                    text=_UNPROVEN_TEXT,
                    command=f"isosmoke prove {scenario.name} --broken BIN --fixed BIN",
                )

    def _list_toothless(
        self, scenarios: Collection[Scenario], losses: Iterable[BlamedLoss]
    ) -> Iterator[Lack]:
        """Yield the scenarios without a receipt; none counts by patterns that are a loss."""
        if not (self.manifest.gate.require_teeth and scenarios):
            return
        if any(map(_is_renaming, losses)):
            yield from (_describe(item, _UNREVIEWED_TEXT, "isosmoke check") for item in scenarios)
            return
        receipts = [*self._load(teeth_receipt.parse)]
        for scenario in scenarios:
            own = [item for item in receipts if item.circumstances.scenario == scenario.name]
            lack = self._find_toothless(scenario, own)
            if lack is not None:
                yield lack

    def _load(self, parse: Callable[[bytes, str], _AnyStatement]) -> Iterator[_AnyStatement]:
        """Yield all readable statements of one kind; one that cannot be read proves nothing."""
        for path in self._paths:
            try:
                yield parse(files.read(path, follow=False), str(path))
            except (OSError, RecordError):
                continue

    @cached_property
    def _paths(self) -> tuple[Path, ...]:
        homes = record_homes.list_homes(self.caller, self.manifest.path)
        committed = self.manifest.path.absolute().parent / COMMITTED
        return (*gate_records.list_proofs(homes), *sorted(committed.glob("*.json")))

    def _is_proof(self, item: ProofStatement, scenario: Scenario) -> bool:
        """Return whether a proof is of this scenario, of different binaries, and still holds."""
        about = item.circumstances
        is_proof = (
            about.scenario == scenario.name
            and item.predicate.result == "PASSED"
            and about.fixed.outcome is Outcome.PASS
            and about.broken.outcome.blocks
            and about.fixed.sha256 != about.broken.sha256
        )
        current = self._collect_inputs(scenario) if is_proof else None
        return current is not None and not proof.find_differences(item, current)

    def _find_toothless(
        self, scenario: Scenario, receipts: Sequence[TeethStatement]
    ) -> Lack | None:
        """Return why no receipt shows that a scenario bites; None if one does.

        The reason is that of the newest receipt, one that still holds before any other.
        """
        measure = self._build_command(scenario, "--declared")
        if not scenario.teeth:
            return _describe(
                scenario,
                "declares no `teeth`: add the subcommands that it tests to its entry",
                measure,
            )
        inputs = self._collect_inputs(scenario)
        if inputs is None:
            return _describe(scenario, "cannot be read, or a file that it names", measure)
        present = Present(
            scenario=scenario, inputs=inputs, program=self._program, binary=self.tested
        )
        by_age = sorted(receipts, key=lambda item: item.circumstances.tested_at)
        differences = [teeth_receipt.find_difference(item, present) for item in by_age]
        current = [item for item, changed in zip(by_age, differences, strict=True) if not changed]
        objections = [self._judge(item, scenario) for item in current]
        if objections:
            return None if None in objections else objections[-1]
        if not differences:
            return _describe(scenario, "has no receipt that it bites", measure)
        return _describe(scenario, f"its receipt no longer holds: {differences[-1]}", measure)

    def _judge(self, receipt: TeethStatement, scenario: Scenario) -> Lack | None:
        """Return the objection to a receipt that holds; None if it shows that a scenario bites."""
        measure = self._build_command(scenario, "--declared")
        if contradiction := teeth_receipt.find_contradiction(receipt, scenario):
            return _describe(scenario, f"its receipt proves nothing: {contradiction}", measure)
        if receipt.circumstances.patterns != self.manifest.gate.teeth_patterns:
            text = "its receipt is by other patterns than those of [gate] teeth_patterns"
            return _describe(scenario, text, measure)
        flaw = teeth_receipt.find_flaw(receipt)
        if flaw is None:
            return None
        if flaw.sabotage is None or flaw.is_undecided:
            return _describe(scenario, flaw.text, measure)
        names = ("--explain", flaw.subcommand, "--sabotage", flaw.sabotage.value)
        return _describe(scenario, flaw.text, self._build_command(scenario, *names))

    def _build_command(self, scenario: Scenario, *arguments: str) -> str:
        return quote_command(("isosmoke", "teeth", scenario.name, *arguments, *self.options))

    def _collect_inputs(self, scenario: Scenario) -> tuple[Resource, ...] | None:
        """Return the inputs of a scenario; None if its script cannot be read."""
        try:
            return receipt_inputs.collect_own_inputs(self.manifest, [scenario])
        except IsosmokeError:
            return None

    @cached_property
    def _program(self) -> str:
        return files.sha256(STAND_IN_FILE)


def _select_bound(inputs: Iterable[Resource]) -> Sequence[Resource]:
    return [item for item in inputs if item.name.startswith(proof.BOUND)]


def _is_renaming(blamed: BlamedLoss) -> bool:
    loss = blamed.loss
    return loss.refused and (loss.subject, loss.identity) == (GATE, "teeth_patterns")


def _describe(scenario: Scenario, text: str, command: str) -> Lack:
    return Lack(scenario=scenario.name, rule="require_teeth", text=text, command=command)


def create_for_run(
    manifest: Manifest, caller: Caller, named: str | None = None, options: Sequence[str] = ()
) -> Requirement:
    """Return the requirement of a run of the binary that the option `named`, or PATH, selects.

    Raises:
        IsosmokeError: if the binary cannot be read.
    """
    path = binary.find(named, caller.environment) if manifest.gate.require_teeth else None
    tested = "" if path is None else input_copies.compute_digest(path)
    return Requirement(manifest=manifest, caller=caller, tested=tested, options=options)


def require(requirement: Requirement, scenarios: Iterable[Scenario]) -> None:
    """Raise an error if one of these scenarios lacks a statement that a rule requires."""
    if lacks := requirement.find_lacks(scenarios):
        raise IsosmokeError("\n".join(_list_reasons(lacks)), hint=lacks[0].command)


def _list_reasons(lacks: Sequence[Lack]) -> Iterator[str]:
    unproven = [lack.scenario for lack in lacks if lack.rule == "require_proof"]
    if unproven:
        verb = "scenario has" if len(unproven) == 1 else "scenarios have"
        names = ", ".join(unproven)
        yield f"{len(unproven)} new {verb} no proof ([gate] require_proof): {names}"
    for lack in lacks:
        if lack.rule == "require_teeth":
            yield f"{lack.scenario} {lack.text} ([gate] require_teeth)"


def find_losses(result: Comparison, caller: Caller) -> Iterator[BlamedLoss]:
    """Yield a loss for each new or rewritten scenario that lacks what its manifest requires.

    A check tests no binary, so that a receipt of teeth counts for any.
    """
    for place in result.places:
        try:
            manifest = loader.load(result.top / place)
        except ManifestError:
            continue  # the comparison has reported what was lost instead
        for lack in Requirement(manifest=manifest, caller=caller).list_lacks(
            manifest.scenarios, result
        ):
            yield BlamedLoss(place, _build_loss(lack))


def _build_loss(lack: Lack) -> Loss:
    if lack.rule == "require_proof":
        return Loss(lack.scenario, UNPROVEN, lack.text, UNPROVEN)
    text = f"{lack.text} ([gate] require_teeth); try: {lack.command}"
    return Loss(lack.scenario, TOOTHLESS, text, TOOTHLESS)
