"""The client's side of a cluster: workers as a place, with at most as many orders as free slots.

Nothing but a complete answer of the worker that received an order is a result. Whatever happens to
a worker, its connection or the scheduler before that raises `LostError`.
"""

import os
import secrets as random
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import field
from pathlib import Path
from select import POLLIN, poll
from threading import Condition, Lock
from time import monotonic
from typing import Any

from distributed import Client, Future, KilledWorker

from isosmoke.cluster import dask_settings, tasks
from isosmoke.cluster.content import exact_trees, trees
from isosmoke.cluster.content.sending import SendingError, send
from isosmoke.cluster.content.trees import Catalog
from isosmoke.cluster.members import ClusterMember, find_members, list_addresses
from isosmoke.dataclass import dataclass
from isosmoke.engines.base import DESTROY_SECONDS, START_SECONDS
from isosmoke.execution.places import answer
from isosmoke.execution.places.answer import Answer, AnswerError, ContentRefusal, Needs
from isosmoke.execution.places.known_secrets import KnownSecrets
from isosmoke.execution.places.order import Order, decode
from isosmoke.execution.places.place import LostError
from isosmoke.interrupt import Interrupt
from isosmoke.keeper.exchange import StoppedError
from isosmoke.manifest.models import Scenario
from isosmoke.results.run_results import LostOrder
from isosmoke.runner.job_builder import RunContext
from isosmoke.runner.sandbox_run import KILL_SECONDS

_RESULT_SECONDS = 10
_POLL_SECONDS = 1.0
_MAX_SENDINGS = 3
"""The number of times that the content of an order is sent before its worker is skipped."""

_PRIORITY_ALONE = 10

_Future = Future[tuple[bytes, bytes]]


class RefusalError(Exception):
    """A worker cannot have the content of one order."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """An order, its bytes, the secrets of its scenario, and workers by their address.

    Those of `refused_by` never receive it, and those of `avoided` only if there are no others.
    """

    order: Order
    content: bytes
    secrets: bytes
    avoided: Collection[str]
    refused_by: set[str] = field(default_factory=set)

    def seal(self, member: ClusterMember) -> bytes:
        """Return the secrets in a form that only this worker can read; empty without any."""
        return member.certificate.seal(self.secrets, self.content) if self.secrets else b""


@dataclass(slots=True)
class Pool:
    """The workers of a scheduler as a place.

    `members` are those that fit this client. `pins` are the certificates of those that may receive
    secrets; with `only_pinned`, no other worker receives anything. `notes` says which workers are
    not used, and why.
    """

    client: Client
    address: str
    interrupt: Interrupt
    members: list[ClusterMember]
    pins: frozenset[str] = frozenset()
    only_pinned: bool = False
    notes: list[str] = field(default_factory=list)
    ttl: float = dask_settings.WORKER_TTL_SECONDS
    _catalog: Catalog = field(default_factory=Catalog, init=False)
    _starts: dict[str, list[float]] = field(default_factory=dict, init=False)
    _free: Condition = field(default_factory=Condition, init=False)
    _adding: Lock = field(default_factory=Lock, init=False)
    _added: dict[tuple[Path, bool, int, int, int], str] = field(default_factory=dict, init=False)
    """The digests of what was added, by path, device, inode and time of change."""

    _topic: str = field(init=False)

    def __post_init__(self) -> None:
        self._topic = f"isosmoke-{random.token_hex(8)}"
        self.client.subscribe_topic(self._topic, self._note_start)

    @property
    def slots(self) -> int:
        """The number of orders that the workers can have at once."""
        return sum(
            member.slots
            for member in self.members
            if self._is_pinned(member) or not self.only_pinned
        )

    def publish(self, context: RunContext, known: KnownSecrets) -> Mapping[Path, str]:
        """Describe the workspace and the binary; workers receive what they lack with an order."""
        described = trees.describe_workspace(context, known)
        with self._adding:
            self._catalog.blobs.update(described.blobs)
        return described.trees

    def add_path(self, path: Path, emptied: Collection[str] = (), *, owners: bool = True) -> str:
        """Describe a file or directory, which workers receive with an order; return its digest.

        Its content is that of the first call, unless another one has its path now. Without
        `owners`, everything belongs to the user of the worker.
        """
        status = path.stat()
        key = (path, owners, status.st_dev, status.st_ino, status.st_ctime_ns)
        with self._adding:
            if key not in self._added:
                listing = tuple(exact_trees.describe(path.resolve(), emptied, owners=owners))
                self._added[key] = self._catalog.add(path.resolve(), listing)
            return self._added[key]

    def explain_distrust(self) -> str:
        """Return why no worker may receive secrets, naming them; empty if one may."""
        if any(map(self._is_pinned, self.members)):
            return ""
        named = (
            f"{member.address} has the certificate {member.certificate.fingerprint}"
            for member in self.members
        )
        return f"no worker of {self.address} is pinned: {', '.join(named)}"

    def _is_pinned(self, member: ClusterMember) -> bool:
        return member.certificate.fingerprint in self.pins

    def describe(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the facts about each worker that fits this client, by its address."""
        addresses = [member.address for member in self.members]
        facts = self.client.run(tasks.describe, workers=addresses)
        return {
            member.address: {**facts[member.address], "slots": member.slots}
            for member in self.members
        }

    def attempt(self, order: bytes, secrets: bytes = b"", avoided: Collection[str] = ()) -> bytes:
        """Send an order to the worker with the most free slots, and return its answer.

        With `secrets`, that is a worker that is pinned, and only it can read them. The workers
        `avoided` receive it only if there are no others.

        Raises:
            LostError: if there is no complete answer.
            StoppedError: if the run was interrupted; the sandbox ends within a second.
        """
        sent = _Sent(decode(order), order, secrets, avoided)
        while True:
            with self._taken(sent) as (member, slots):
                try:
                    self._send_content(member, sent.order)
                    return self._perform(member, slots, sent)
                except RefusalError as error:
                    self._pass_over(member, sent, str(error))
                except SendingError as error:
                    self._skip(member, str(error))
                except LostError:
                    self._check_membership(member)
                    raise

    @contextmanager
    def _taken(self, sent: "_Sent") -> Iterator[tuple[ClusterMember, int]]:
        """Take one slot of a worker during a block; for an order alone, all slots of one worker."""
        with self._free:
            while (member := self._find_free(sent)) is None:
                self._check_interrupt()
                self._free.wait(_POLL_SECONDS)
            slots = member.slots if sent.order.alone else 1
            member.used += slots
        try:
            yield member, slots
        finally:
            with self._free:
                member.used -= slots
                self._free.notify_all()

    def _find_free(self, sent: "_Sent") -> ClusterMember | None:
        """Return the worker with the most free slots; None if all are in use.

        Raises:
            LostError: if there is no worker any more.
        """
        usable = self._list_usable(sent)
        if not usable:
            self._find_new_members()
            usable = self._list_usable(sent)
        if not usable:
            raise _create_loss(self.address, "no worker that is pinned is left", "sent")
        others = [member for member in usable if member.address not in sent.avoided]
        usable = others or usable
        best = max(usable, key=lambda member: member.slots - member.used)
        is_free = best.used == 0 if sent.order.alone else best.used < best.slots
        return best if is_free else None

    def _list_usable(self, sent: "_Sent") -> list[ClusterMember]:
        needs_pin = self.only_pinned or bool(sent.secrets)
        return [
            member
            for member in self.members
            if not member.lost
            and member.address not in sent.refused_by
            and (self._is_pinned(member) or not needs_pin)
        ]

    def _find_new_members(self) -> None:
        """Add the workers that joined the cluster during the run.

        Raises:
            LostError: if there are none.
        """
        if self.client.status != "running":
            raise _create_loss(self.address, "the scheduler is lost", "sent")
        known = {member.address for member in self.members}
        try:
            found, _ = find_members(self.client)
        except Exception as error:
            raise _create_loss(self.address, f"the scheduler is lost: {error}", "sent") from error
        new = [member for member in found if member.address not in known]
        if not new:
            raise _create_loss(self.address, "no worker is left", "sent")
        self.members += new

    def _check_membership(self, member: ClusterMember) -> None:
        """Use a worker that lost an order no more, unless the scheduler still has it."""
        try:
            members = list_addresses(self.client)
        except (OSError, RuntimeError):  # what is unreachable has no workers
            members = set()
        with self._free:
            member.lost = member.lost or member.address not in members

    def _check_interrupt(self) -> None:
        if self.interrupt.is_raised:
            raise StoppedError(self.interrupt.reason)

    def _send_content(self, member: ClusterMember, received: Order) -> None:
        """Send what the worker lacks, once for all orders with the same content.

        Raises:
            SendingError: if the worker cannot keep it.
        """
        with member.lock:
            new = [digest for digest in received.digests if digest not in member.sent]
            if new:
                needed = self._catalog.list_needed(new)
                send(self.client, member.address, needed, self._catalog)
                member.sent.update(new)

    def _perform(self, member: ClusterMember, slots: int, sent: "_Sent") -> bytes:
        """Return the answer of a worker, which receives again what it turned out to lack."""
        for number in range(_MAX_SENDINGS):
            key = f"{self._topic}-{sent.order.nonce}-{number}"
            content = self._submit(member, slots, key, sent)
            try:
                reply = answer.decode(content, sent.order.nonce)
            except AnswerError as error:
                raise _create_loss(member.address, str(error), "started") from error
            if isinstance(reply, ContentRefusal):
                raise RefusalError(reply.reason)
            if not isinstance(reply, Needs):
                _check_record(reply, member)
                return content
            with member.lock:
                needed = self._catalog.list_needed(reply.digests)
                send(self.client, member.address, needed, self._catalog)
        raise SendingError("its cache lost the content of an order again and again")

    def _submit(self, member: ClusterMember, slots: int, key: str, sent: "_Sent") -> bytes:
        """Return what the worker answers to an order under this key."""
        try:
            future = self.client.submit(
                tasks.attempt,
                sent.content,
                self._topic,
                sent.seal(member),
                key=key,
                pure=False,
                retries=0,
                workers=[member.address],
                allow_other_workers=False,
                resources={dask_settings.get_fence(): slots},
                priority=_PRIORITY_ALONE if sent.order.alone else 0,
            )
        except Exception as error:
            member.lost = True
            raise _create_loss(member.address, f"it receives no orders: {error}", "sent") from error
        try:
            self._wait(future, key, sent.order.scenario, member)
            content = self._read(future, key, member, sent)
        finally:
            with suppress(Exception):  # the connection may be gone, and the order with it
                future.cancel()
                future.release()
            self._starts.pop(key, None)
        return content

    def _read(self, future: "_Future", key: str, member: ClusterMember, sent: "_Sent") -> bytes:
        """Return the result of an order that ended.

        Raises:
            LostError: if it ended without a result that its worker signed, or was started more
                than once.
        """
        phase = "started" if key in self._starts else "sent"
        try:
            content, signature = future.result(timeout=_RESULT_SECONDS)
        except KilledWorker:
            member.lost = True
            raise _create_loss(member.address, "it was lost", phase) from None
        except Exception as error:
            if future.status == "cancelled":
                member.lost = True
                reason = "the connection to the scheduler was lost"
                raise _create_loss(member.address, reason, phase) from None
            raise _create_loss(member.address, f"{type(error).__name__}: {error}", phase) from error
        if len(self._starts.get(key, ())) > 1:
            raise _create_loss(member.address, "the scheduler started the order twice", phase)
        if not member.certificate.has_signed(content, sent.content, signature):
            raise _create_loss(member.address, "its answer is not signed with its key", phase)
        return content

    def _wait(self, future: "_Future", key: str, scenario: Scenario, member: ClusterMember) -> None:
        """Wait until an order ends in whatever way.

        Raises:
            LostError: if it should have ended long ago.
            StoppedError: if the run is interrupted.
        """
        ended = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            future.add_done_callback(lambda _: _wake(ended))
            waiting = poll()
            waiting.register(ended, POLLIN)
            waiting.register(self.interrupt.fileno(), POLLIN)
            limit = _compute_limit(scenario) + self.ttl
            while not future.done():
                waiting.poll(_POLL_SECONDS * 1000)
                self._check_interrupt()
                started = self._starts.get(key)
                if started and monotonic() - started[0] > limit:
                    raise _create_loss(member.address, f"no answer after {limit:g} s", "started")
        finally:
            os.close(ended)

    def _note_start(self, event: tuple[float, Mapping[str, Any]]) -> None:
        _, report = event
        self._starts.setdefault(str(report["key"]), []).append(monotonic())

    def _pass_over(self, member: ClusterMember, sent: "_Sent", reason: str) -> None:
        """Use a worker no more for this order: it may have the content of others."""
        name = sent.order.entry.get("name")
        note = f"for {name}, the worker {member.address} is skipped: {reason}"
        with self._free:
            sent.refused_by.add(member.address)
            if note not in self.notes:
                self.notes.append(note)

    def _skip(self, member: ClusterMember, reason: str) -> None:
        """Use a worker no more: it cannot keep the content of orders."""
        with self._free:
            member.lost = True
            self.notes.append(f"the worker {member.address} is skipped: {reason}")


def _check_record(reply: Answer, member: ClusterMember) -> None:
    """Check that the record of an attempt names the worker that signed it, and is complete.

    Raises:
        LostError: if it names another one, or the sandbox may still exist.
    """
    worker = reply.attempt.worker
    if worker is None or worker.certificate != member.certificate.fingerprint:
        raise _create_loss(member.address, "its record names another worker", "started")
    if not reply.is_gone:
        raise _create_loss(member.address, answer.describe_remains(reply.attempt), "started")


def _wake(descriptor: int) -> None:
    """Wake the thread that waits for an order; it may have left already."""
    with suppress(OSError):
        os.eventfd_write(descriptor, 1)


def _compute_limit(scenario: Scenario) -> float:
    """Return the time after its start in which an attempt must have ended, in seconds."""
    own = scenario.timeout_seconds + scenario.grace_seconds + scenario.settle_seconds
    services = sum(service.timeout_seconds for service in scenario.services)
    return own + services + 2 * START_SECONDS + KILL_SECONDS + DESTROY_SECONDS


def _create_loss(worker: str, reason: str, phase: str) -> LostError:
    return LostError(LostOrder(worker=worker, reason=reason, phase=phase))
