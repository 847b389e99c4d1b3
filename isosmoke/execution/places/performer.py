"""The performer of orders: it makes the attempt of an order with today's runner on this machine."""

import os
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import field, replace
from pathlib import Path
from threading import Lock
from typing import Protocol

from isosmoke.dataclass import dataclass
from isosmoke.errors import IsosmokeError
from isosmoke.execution.attempt import AttemptRunner
from isosmoke.execution.places import answer, machine_locks, order, passed_secrets
from isosmoke.execution.places.answer import Answer
from isosmoke.execution.places.known_secrets import KnownSecrets
from isosmoke.execution.places.order import CallerFacts, Order, OrderError
from isosmoke.execution.places.passed_secrets import PassedSecrets
from isosmoke.execution.places.stand_in_mounts import ReceivedStandIns
from isosmoke.execution.preflight import EnginePool, Preflight
from isosmoke.execution.requirements import Requirements
from isosmoke.host import binary, state
from isosmoke.host.binary import Binary
from isosmoke.host.caller_process import Caller
from isosmoke.host.files import trees
from isosmoke.interrupt import Interrupt
from isosmoke.keeper.exchange import StoppedError
from isosmoke.manifest.models import Scenario
from isosmoke.results.outcome import Broke, MissingRequirement, Stopped
from isosmoke.results.run_results import Attempt, Worker
from isosmoke.rootfs_images import image_kinds
from isosmoke.runner.job_builder import RunContext

MAX_LOG = 8 * 1024**2
"""The maximum size of a log in an answer, in bytes; the log names what it leaves out."""

_MAX_KEPT = 16
"""The number of caller_facts whose engines and mounts are kept for further orders."""


class ContentError(Exception):
    """This machine cannot have the content of an order: there is no room, or no permission."""


class Content(Protocol):
    """The content that orders name by its digests."""

    def held(self, received: Order) -> AbstractContextManager[tuple[str, ...]]:
        """Keep the content of an order during a block; yield the digests of what is missing.

        Raises:
            ContentError: if this machine cannot have it.
        """

    def get_tree(self, digest: str) -> Path:
        """Return the file or directory with this content, which is held."""

    def get_binary(self, source: Path, digest: str) -> Binary:
        """Return the program with this content, which has the name of `source`."""


class LocalContent:
    """The content of orders for the machine that they come from: nothing is missing."""

    @contextmanager
    def held(self, received: Order) -> Iterator[tuple[str, ...]]:
        """Yield nothing: the machine has what its own orders name."""
        yield ()

    def get_tree(self, digest: str) -> Path:
        """Return the directory whose path is its name in such orders."""
        return Path(digest)

    def get_binary(self, source: Path, digest: str) -> Binary:
        """Return the program at `source`.

        Raises:
            OrderError: if it has changed.
        """
        taken = binary.take(source)
        if taken.sha256 != digest:
            raise OrderError(f"{source} has changed: it has the SHA-256 {taken.sha256[:12]}")
        return taken


@dataclass(slots=True)
class Performer:
    """A maker of attempts on this machine; `worker` is its description in records."""

    content: Content
    worker: Worker | None = None
    _kept: OrderedDict[str, Preflight] = field(default_factory=OrderedDict, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)
    _idle: list[Path] = field(default_factory=list, init=False)
    """Directories for logs that no attempt uses now: creating and removing them takes time."""

    _empty: list[Path] = field(default_factory=list, init=False)
    """The directory in which stand-ins create files, once one was needed."""

    def close(self) -> None:
        """Remove the directories of attempts. A later sweep removes those of a killed process."""
        for directories in (self._idle, self._empty):
            while directories:
                trees.remove(directories.pop())

    @contextmanager
    def _log_directory(self) -> Iterator[Path]:
        """Yield a directory that no other attempt uses during the block."""
        try:
            directory = self._idle.pop()
        except IndexError:
            directory = state.create_scratch()
        yield directory
        self._idle.append(directory)

    def perform(
        self,
        content: bytes,
        interrupt: Interrupt,
        begin: Callable[[], object] = lambda: None,
        secrets: bytes = b"",
    ) -> bytes:
        """Make the attempt of an order, and return the answer; `begin` is called before it starts.

        `secrets` are those of its scenario, which stay on this machine as long as the attempt.

        Raises:
            OrderError: if the bytes are not an order of this version.
        """
        received = order.decode(content)
        try:
            with self.content.held(received) as missing:
                if missing:
                    return answer.encode_needs(received.nonce, missing)
                begin()
                with passed_secrets.unpacked(secrets) as passed:
                    return answer.encode(received.nonce, self._answer(received, passed, interrupt))
        except ContentError as error:
            return answer.encode_refusal(received.nonce, str(error))

    def _answer(self, received: Order, passed: PassedSecrets, interrupt: Interrupt) -> Answer:
        stand_ins = self._receive_stand_ins(received)
        with self._log_directory() as record:
            try:
                attempt, notes = self._attempt(
                    received, passed, record, interrupt, stand_ins=stand_ins
                )
            except IsosmokeError as error:
                hint = f" (try: {error.hint})" if error.hint else ""
                attempt, notes = Attempt(ending=Broke(f"{error.message}{hint}")), ()
            except StoppedError as error:
                attempt, notes = Attempt(ending=Stopped(str(error))), ()
            log = answer.take_log(attempt.log)
        return Answer(
            attempt=replace(self._restore_image(received, attempt), worker=self.worker, log=None),
            log=log,
            is_gone=not attempt.leftovers,
            notes=(*notes, *(stand_ins.notes if stand_ins else ())),
            files=stand_ins.files if stand_ins else None,
        )

    def _replace_image(self, received: Order) -> Scenario:
        """Return the scenario of an order, in the root filesystem that the order brings."""
        if not received.root:
            return received.scenario
        return received.scenario.change(image=self._name_root(received))

    def _name_root(self, received: Order) -> str:
        return f"{image_kinds.ROOTFS_PREFIX}{self.content.get_tree(received.root)}"

    def _restore_image(self, received: Order, attempt: Attempt) -> Attempt:
        """Return an attempt whose texts have the name of the image for its directory here."""
        if not received.root:
            return attempt
        own, image = self._name_root(received), received.scenario.image
        directory = own.removeprefix(image_kinds.ROOTFS_PREFIX)
        return attempt.transform_texts(
            lambda text: text.replace(own, image).replace(directory, image)
        )

    def _receive_stand_ins(self, received: Order) -> ReceivedStandIns | None:
        """Return the stand-ins of an order; None if the binary itself runs."""
        if not received.stand_ins:
            return None
        return ReceivedStandIns(
            directories={
                at: self.content.get_tree(digest) for at, digest in received.stand_ins.items()
            },
            returned=received.returned,
            empty=self._find_empty(),
        )

    def _find_empty(self) -> Path:
        """Return an empty directory in which any user of a sandbox may create files."""
        with self._lock:
            if not self._empty:
                directory = state.create_scratch()
                directory.chmod(0o777)
                self._empty.append(directory)
            return self._empty[0]

    def _attempt(
        self,
        received: Order,
        passed: PassedSecrets,
        record: Path,
        interrupt: Interrupt,
        *,
        stand_ins: ReceivedStandIns | None,
    ) -> tuple[Attempt, tuple[str, ...]]:
        """Return the attempt of an order, and notes for the user."""
        scenario = self._replace_image(received)
        preflight = self._prepare(received.caller_facts, passed, interrupt)
        with image_kinds.images_in_use((scenario.image,)):
            with self._lock:
                preflight.check((scenario,))
            context = preflight.context
            if stand_ins is not None:
                context = replace(context, stand_ins=stand_ins)
            runner = _create_runner(
                received, preflight.engines, context, record=record, interrupt=interrupt
            )
            notes = tuple(preflight.engines.list_unsupported_limits((scenario,)))
            if missing := runner.find_missing(scenario):
                return Attempt(ending=MissingRequirement(missing)), notes
            with machine_locks.held(scenario.locks, interrupt):
                limits = replace(scenario.limits, output=min(scenario.limits.output, MAX_LOG))
                shortened = scenario.change(limits=limits)
                return runner.run(shortened, received.number, received.argv), notes

    def _prepare(
        self, caller_facts: CallerFacts, passed: PassedSecrets, interrupt: Interrupt
    ) -> Preflight:
        """Return the checked engines and the context, which orders of a run have in common.

        Those of an order with secrets are not kept.
        """
        if passed != PassedSecrets():
            return self._create_preflight(caller_facts, passed, interrupt)
        key = repr(caller_facts)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = self._create_preflight(caller_facts, passed, interrupt)
            self._kept.move_to_end(key)
            while len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
            return replace(self._kept[key], interrupt=interrupt)

    def _create_preflight(
        self, caller_facts: CallerFacts, passed: PassedSecrets, interrupt: Interrupt
    ) -> Preflight:
        tested = caller_facts.binary
        context = RunContext(
            caller=Caller(
                uid=os.getuid(),
                gid=os.getgid(),
                user=caller_facts.user,
                home=Path(caller_facts.home),
                working=Path(caller_facts.working),
                environment={**caller_facts.environment, **passed.variables},
            ),
            workspace=caller_facts.workspace,
            binary=tested and self.content.get_binary(Path(tested[0]), tested[1]),
            sources={
                **passed.sources,
                **{
                    Path(path): self.content.get_tree(digest)
                    for path, digest in caller_facts.trees.items()
                },
            },
        )
        engines = EnginePool(caller_facts.engine)
        return Preflight(engines=engines, context=context, interrupt=interrupt)


def _create_runner(
    received: Order,
    engines: EnginePool,
    context: RunContext,
    *,
    record: Path,
    interrupt: Interrupt,
) -> AttemptRunner:
    environment = context.caller.environment
    return AttemptRunner(
        engine_for=engines.engine_for,
        context=context,
        requirements=Requirements(environment, has_binary=context.binary is not None),
        record=record,
        interrupt=interrupt,
        leaks=received.leaks,
        evidence=received.evidence,
    )


@dataclass(slots=True)
class LocalPlace:
    """This machine as a place: its orders are performed in the calling thread."""

    slots: int
    interrupt: Interrupt
    performer: Performer = field(default_factory=lambda: Performer(LocalContent()))

    def attempt(self, order: bytes, secrets: bytes = b"", avoided: Collection[str] = ()) -> bytes:
        """Make the attempt of an order, and return its record."""
        return self.performer.perform(order, self.interrupt, secrets=secrets)

    def publish(self, context: RunContext, known: KnownSecrets) -> Mapping[Path, str]:
        """Return no trees: the orders name directories of this machine."""
        return {}

    def add_path(self, path: Path, emptied: Collection[str] = (), *, owners: bool = True) -> str:
        """Return the path, which is the name of its content on this machine."""
        return str(path)

    def explain_distrust(self) -> str:
        """Return nothing: this machine has the secrets already."""
        return ""
