"""Writing of receipts: the circumstances of a bound run, as a file in the home of its records."""

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from isosmoke.dataclass import dataclass
from isosmoke.gate import in_toto, receipt, receipt_inputs
from isosmoke.gate.bound_run import BoundRun
from isosmoke.gate.receipt import Circumstances, ReceiptWorker, ShardPart, Surroundings, Way
from isosmoke.history import gate_records, record_homes
from isosmoke.host.caller_process import Caller
from isosmoke.manifest.models import Manifest
from isosmoke.redaction import Redactor
from isosmoke.results.records.finding import GateFinding
from isosmoke.results.run_results import RunResult, ScenarioResult
from isosmoke.runner.secret_reader import read_secrets
from isosmoke.text import shorten

_OVERRIDES = ("WG_DIR", "WG_SMOKE_MANIFEST", "WG_SMOKE_AGENT_OVERRIDE", "ISOSMOKE_WG")
"""The variables that select what is gated, with what, and whether an agent may bypass it."""

_MAX_LENGTH = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptWriter:
    """A writer of receipts for one task.

    `options` are those that selected the manifest and the binary, and `losses` are reasons to
    doubt that the manifest is the project's. `place` is that of the gate, or None.
    """

    task: str
    way: Way
    caller: Caller
    manifest: Manifest
    options: tuple[str, ...] = ()
    losses: tuple[GateFinding, ...] = ()
    place: str | None = None

    def list_homes(self) -> tuple[Path, ...]:
        """Return the directories that can hold the receipt.

        Raises:
            UsageError: if one of them has a symbolic link in place of its records.
        """
        return record_homes.list_homes(self.caller, self.manifest.path)

    def save(self, run: BoundRun, *, is_open: bool) -> Path:
        """Write the receipt of a run, and return its path.

        Raises:
            IsosmokeError: if no home is writable.
        """
        name = run.result.record.name if run.result.record else "run"
        text = self._render(run, self._describe(run, is_open=is_open))
        return gate_records.save_receipt(self.list_homes(), name, text)

    def render_shard(self, run: BoundRun, shard: ShardPart) -> str:
        """Return the receipt of a shard, which opens no gate, and is of no graph."""
        circumstances = self._describe(run, is_open=False)
        return self._render(run, circumstances.model_copy(update={"shard": shard, "graph": None}))

    def _render(self, run: BoundRun, circumstances: Circumstances) -> str:
        subject = receipt_inputs.create_subject(run.result.binary, self.manifest.path)
        tree = (in_toto.create_tree_resource(run.commit.tree),) if run.commit.tree else ()
        inputs = (*run.inputs, *tree)
        return in_toto.render(receipt.create_statement(circumstances, subject, inputs))

    def _describe(self, run: BoundRun, *, is_open: bool) -> Circumstances:
        result, base = run.result, receipt_inputs.find_base(self.manifest.path)
        return Circumstances(
            task=self.task.strip(),
            open=is_open,
            tested_at=format_now(),
            manifest=name_manifest(self.manifest.path),
            binary=receipt_inputs.shorten_path(result.binary[0], base) if result.binary else None,
            repository=run.commit.checkout,
            outcomes={scenario.name: scenario.outcome for scenario in result.scenarios},
            engine=result.engine,
            warnings=result.warnings or None,
            way=self.way,
            graph=str(record_homes.locate_graph(self.caller, self.manifest.path)),
            surroundings=self._describe_surroundings(result),
            losses=self.losses or None,
            caches=_list_caches(result) or None,
            place=self.place,
            workers=_list_workers(result) or None,
        )

    def _describe_surroundings(self, result: RunResult) -> Surroundings:
        redact, environment = self._create_redaction(result), self.caller.environment
        agent = environment.get("WG_AGENT_ID")
        return Surroundings(
            path=redact(environment.get("PATH", os.defpath)),
            overrides=tuple(map(redact, self._list_overrides())),
            agent=None if agent is None else redact(agent),
            user=self.caller.user,
            origin=self._find_origin(),
        )

    def _list_overrides(self) -> Iterator[str]:
        yield from self.options
        for name in _OVERRIDES:
            if name in self.caller.environment:
                yield f"{name}={self.caller.environment[name]}"

    def _find_origin(self) -> str:
        if any(option.startswith("--binary=") for option in self.options):
            return "--binary"
        return "ISOSMOKE_WG" if self.caller.environment.get("ISOSMOKE_WG") else "PATH"

    def _create_redaction(self, result: RunResult) -> Callable[[str], str]:
        """Return a function that replaces the secrets of the run, and shortens HOME to `~`."""
        scenarios = [scenario.scenario for scenario in result.scenarios]
        redactor = Redactor(
            secret for scenario in scenarios for secret in read_secrets(scenario, self.caller)
        )
        home = f"{self.caller.home}/"
        return lambda text: shorten(redactor.text(text.replace(home, "~/")), _MAX_LENGTH)


def name_manifest(path: Path) -> str:
    """Return the path of a manifest as it is in a receipt."""
    resolved = path.absolute().parent.resolve() / path.name
    base = receipt_inputs.find_base(resolved)
    in_repository = (base / ".git").exists()
    return receipt_inputs.shorten_path(resolved, base) if in_repository else str(path.absolute())


def format_now() -> str:
    """Return the present time in UTC (RFC 3339)."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _list_caches(result: RunResult) -> Mapping[str, tuple[str, ...]]:
    """Return the tools whose caches each scenario saw, if any."""
    scenarios = (result.scenario for result in result.scenarios)
    return {scenario.name: scenario.cache for scenario in scenarios if scenario.cache}


def _list_workers(result: RunResult) -> Mapping[str, tuple[ReceiptWorker, ...]]:
    """Return the workers that made attempts at each scenario, if any."""
    found = {scenario.name: [*_name_workers(scenario)] for scenario in result.scenarios}
    return {name: tuple(dict.fromkeys(workers)) for name, workers in found.items() if workers}


def _name_workers(result: ScenarioResult) -> Iterator[ReceiptWorker]:
    for attempt in result.attempts:
        if worker := attempt.worker:
            yield ReceiptWorker(
                name=worker.name,
                host=worker.host,
                system=worker.system,
                certificate=worker.certificate,
            )
