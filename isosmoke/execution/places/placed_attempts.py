"""The attempts of a run whose scenarios are made in a place, with a limit for lost ones."""

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from threading import Lock
from typing import Literal

from isosmoke.dataclass import dataclass
from isosmoke.errors import IsosmokeError, UsageError
from isosmoke.execution.places import answer, order, passed_secrets, stand_in_mounts
from isosmoke.execution.places.answer import Answer, AnswerError, ContentRefusal, Needs
from isosmoke.execution.places.known_secrets import KnownSecrets
from isosmoke.execution.places.order import Order
from isosmoke.execution.places.place import AttemptPlace, LostError, create_loss
from isosmoke.host import files
from isosmoke.interrupt import Interrupt
from isosmoke.keeper.exchange import StoppedError
from isosmoke.manifest.models import Scenario
from isosmoke.results.outcome import Broke, Stopped
from isosmoke.results.run_results import Attempt, LostOrder
from isosmoke.rootfs_images import image_kinds
from isosmoke.runner import mounts
from isosmoke.runner.job_builder import RunContext

MAX_LOSSES = 3
"""The number of lost workers after which an attempt is an error: it was made again twice."""

_GLOBAL = "global:"
_HOW_TO_PIN = (
    "list address and certificate under [[gate.places]] in a manifest that is reviewed, "
    "or run it without --place"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedAttempts:
    """The maker of attempts in a place. `trees` are the digests of the caller's directories.

    `known` are the secrets that no order and no open content may contain. Logs are written below
    `record`. `run` identifies the run in orders.
    """

    place: AttemptPlace
    context: RunContext
    engine: str
    record: Path
    interrupt: Interrupt
    trees: Mapping[Path, str] = field(default_factory=dict)
    known: KnownSecrets = field(default_factory=KnownSecrets)
    leaks: Literal["fail", "report"] | None = None
    evidence: Literal["failed", "always", "never"] = "failed"
    run_id: str = field(default_factory=lambda: secrets.token_hex(8))
    notes: list[str] = field(default_factory=list, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    @property
    def slots(self) -> int | None:
        """The number of attempts that can be made at once."""
        return self.place.slots

    def is_local(self, scenario: Scenario) -> bool:
        """Return False: the load of this machine says nothing about a worker."""
        return False

    def find_missing(self, scenario: Scenario) -> str:
        """Return nothing: the worker judges what a scenario requires."""
        return ""

    def check(self, scenarios: Sequence[Scenario]) -> None:
        """Check that scenarios can be made in a place.

        Raises:
            UsageError: if one cannot.
        """
        check_scenarios(scenarios, self.context, self.place, self.known)

    def run(
        self,
        scenario: Scenario,
        number: int,
        argv: tuple[str, ...] = (),
        *,
        alone: bool = False,
    ) -> Attempt:
        """Make an attempt in the place, and again with a new order and worker if it is lost.

        After too many losses, the attempt is an error. An interrupt ends it.
        """
        losses: list[LostOrder] = []
        while len(losses) < MAX_LOSSES:
            try:
                sent = self._create_order(scenario, number, argv, alone=alone)
                attempt = self._make(sent, scenario, [loss.worker for loss in losses])
            except LostError as error:
                losses.append(error.loss)
                self._note(f"{scenario.name}: the worker {error} ({error.loss.phase})")
            except StoppedError as error:
                return Attempt(ending=Stopped(str(error)), losses=tuple(losses))
            except IsosmokeError as error:
                return Attempt(ending=Broke(error.message), losses=tuple(losses))
            else:
                return replace(attempt, losses=tuple(losses))
        reasons = "; ".join(f"{loss.worker}: {loss.reason}" for loss in losses)
        ending = Broke(f"lost {len(losses)} workers: {reasons}")
        return Attempt(ending=ending, losses=tuple(losses))

    def _create_order(
        self, scenario: Scenario, number: int, argv: tuple[str, ...], *, alone: bool
    ) -> Order:
        _require_plain_files(scenario, self.context)
        files = _add_plain_files(scenario, self.context, self.place)
        caller_facts = order.describe_surroundings(
            self.context,
            scenario,
            engine=self.engine,
            run=self.run_id,
            trees={**files, **self.trees},
            secret=self.known.variables,
        )
        root = image_kinds.find_root(scenario.image, scenario.folder)
        sent = stand_in_mounts.send(scenario, self.context, self.place.add_path)
        return Order(
            caller_facts=caller_facts,
            entry=scenario.to_json(),
            folder=str(scenario.folder),
            number=number,
            nonce=secrets.token_hex(16),
            alone=alone,
            argv=argv,
            leaks=self.leaks,
            evidence=self.evidence,
            stand_ins=sent.directories,
            returned=sent.returned,
            root="" if root is None else self.place.add_path(root, image_kinds.RECREATED),
        )

    def _make(self, sent: Order, scenario: Scenario, avoided: Sequence[str]) -> Attempt:
        """Return the attempt of an order, if possible of none of the workers `avoided`.

        Raises:
            IsosmokeError: if its secrets cannot be sent.
            LostError: if the answer is incomplete, or the sandbox may still exist.
        """
        secrets_passed = passed_secrets.encode(scenario, self.context)
        content = self.place.attempt(sent.encode(), secrets_passed, avoided)
        try:
            received = answer.decode(content, sent.nonce)
        except AnswerError as error:
            raise create_loss("?", str(error), "started") from error
        if isinstance(received, Needs):
            reason = f"it lacks content: {', '.join(received.digests)}"
            raise create_loss("?", reason, "sent")
        if isinstance(received, ContentRefusal):
            raise create_loss("?", received.reason, "sent")
        if not received.is_gone:
            reason = answer.describe_remains(received.attempt)
            raise create_loss("?", reason, "started")
        for note in received.notes:
            self._note(note)
        if received.files is not None:
            stand_in_mounts.deliver(received.files, scenario, self.context)
        return self._keep_log(received, scenario, sent.number)

    def _keep_log(self, received: Answer, scenario: Scenario, number: int) -> Attempt:
        """Return the attempt with its log in the record; a full disk changes no verdict."""
        if received.log is None:
            return received.attempt
        path = self.record / scenario.name / f"output-{number}.log"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write(path, received.log, durable=False)
        except OSError as error:
            return replace(received.attempt, unlogged=f"{path}: {error.strerror}")
        return replace(received.attempt, log=path)

    def _note(self, text: str) -> None:
        with self._lock:
            self.notes.append(text)


def _expand_paths(names: Iterable[str], context: RunContext) -> list[Path]:
    """Return the paths that `plain_files` or `pass_files` name on this machine."""
    return [mounts.expand_home(Path(name), context.caller.home) for name in names]


def _add_plain_files(
    scenario: Scenario, context: RunContext, place: AttemptPlace
) -> Mapping[Path, str]:
    """Return the digests of the files that a scenario receives openly.

    A socket or a device has no content: it is that of the worker.

    Raises:
        IsosmokeError: if one cannot be read.
    """
    return {
        path: place.add_path(path, owners=False)
        for path in _expand_paths(scenario.plain_files, context)
        if path.is_file() or path.is_dir()
    }


def _require_plain_files(scenario: Scenario, context: RunContext) -> None:
    """Raise an error if a file is missing: the worker must not show its own one instead."""
    for path in _expand_paths(scenario.plain_files, context):
        if not path.exists():
            raise IsosmokeError(
                f"{path} of plain_files does not exist", "create it, or drop the key"
            )


def check_scenarios(
    scenarios: Sequence[Scenario], context: RunContext, place: AttemptPlace, known: KnownSecrets
) -> None:
    """Check that scenarios can be made in a place that may receive nothing `known` openly.

    Raises:
        UsageError: if one cannot.
    """
    for scenario in scenarios:
        _add_plain_files(scenario, context, place)
        root = image_kinds.find_root(scenario.image, scenario.folder)
        if root is not None:
            place.add_path(root, image_kinds.RECREATED)
        obstacles = _list_obstacles(scenario, context, place)
        mixed = _list_mixed_secrets(scenario, root, context, known)
        for reason, hint in (*obstacles, *mixed):
            raise UsageError(f"scenario '{scenario.name}' cannot run in a place: {reason}", hint)


def _list_mixed_secrets(
    scenario: Scenario, root: Path | None, context: RunContext, known: KnownSecrets
) -> Iterator[tuple[str, str]]:
    """Yield a reason for whatever a scenario uses openly and another one in secret.

    `root` is the root filesystem of the scenario, None if it has another image.
    """
    for name in order.list_open_variables(scenario, context):
        if name in known.variables - {*scenario.pass_env}:
            yield (
                f"it uses the variable {name} openly, which is secret in another scenario",
                "name it in pass_env of both",
            )
    paths = _expand_paths(scenario.plain_files, context)
    for name, path in zip(scenario.plain_files, paths, strict=True):
        if inside := known.find_inside(path):
            yield (
                f"{inside}, which is secret, is part of {name} in plain_files",
                "name only what is not secret in plain_files",
            )
    if root is not None and (inside := known.find_inside(root, image_kinds.RECREATED)):
        yield (
            f"{inside}, which is secret, is part of the root filesystem {scenario.image}",
            "keep the secret outside of it",
        )


def _list_obstacles(
    scenario: Scenario, context: RunContext, place: AttemptPlace
) -> Iterator[tuple[str, str]]:
    """Yield each reason why a scenario cannot run in a place, with the remedy.

    A secret variable that is not set is no obstacle, as there is nothing to send.
    """
    names = passed_secrets.name_secrets(scenario, context)
    if names and context.stand_ins is not None:
        reason = "and the calls that its stand-in records may contain them"
        yield f"it receives the secrets {', '.join(names)}, {reason}", "measure it without --place"
    if names and (why := place.explain_distrust()):
        yield f"it receives the secrets {', '.join(names)}, and {why}", _HOW_TO_PIN
    for name in scenario.locks:
        if name.startswith(_GLOBAL):
            reason = (
                f"the lock '{name}' would have to hold on all machines, and the lock of a lost "
                "worker cannot be known to be released"
            )
            yield reason, "use a lock without 'global:': it holds in a run and on each machine"
