"""One order at one worker: its content, its start, its end, and a result that the worker signed."""

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import field
from select import POLLIN, poll
from time import monotonic
from typing import Any

from distributed import Client, Future, KilledWorker

from isosmoke.cluster import dask_settings, tasks
from isosmoke.cluster.content.sending import SendingError, send
from isosmoke.cluster.content.trees import Catalog
from isosmoke.cluster.members import ClusterMember
from isosmoke.cluster.worker_choice import SentOrder
from isosmoke.dataclass import dataclass
from isosmoke.engines.base import DESTROY_SECONDS, START_SECONDS
from isosmoke.execution.places import answer
from isosmoke.execution.places.answer import Answer, AnswerError, ContentRefusal, Needs
from isosmoke.execution.places.place import create_loss
from isosmoke.interrupt import Interrupt
from isosmoke.keeper.exchange import StoppedError
from isosmoke.manifest.models import Scenario
from isosmoke.runner.sandbox_run import KILL_SECONDS

_RESULT_SECONDS = 10
_POLL_SECONDS = 1.0
_MAX_SENDINGS = 3
"""The number of times that the content of an order is sent before its worker is skipped."""

_PRIORITY_ALONE = 10
_MAX_STARTS = 2

_Future = Future[tuple[bytes, bytes]]


class RefusalError(Exception):
    """A worker cannot have the content of one order."""


@dataclass(slots=True, kw_only=True)
class OrderExchange:
    """The orders of a client in progress; `catalog` is the content that they name.

    `ttl` is the time without a sign of life after which a worker counts as lost, in seconds.
    """

    client: Client
    interrupt: Interrupt
    catalog: Catalog
    ttl: float = dask_settings.WORKER_TTL_SECONDS
    _starts: dict[str, list[float]] = field(default_factory=dict, init=False)
    _topic: str = field(init=False)

    def __post_init__(self) -> None:
        self._topic = f"isosmoke-{secrets.token_hex(8)}"
        self.client.subscribe_topic(self._topic, self._note_start)

    def perform(self, member: ClusterMember, slots: int, sent: SentOrder) -> bytes:
        """Return the answer of a worker to an order, with the content that it lacks.

        Raises:
            LostError: if there is no complete answer.
            RefusalError: if the worker cannot have the content of the order.
            SendingError: if the worker cannot receive or keep content.
            StoppedError: if the run was interrupted; the sandbox ends within a second.
        """
        self._send_content(member, sent)
        return self._ask(member, slots, sent)

    def _send_content(self, member: ClusterMember, sent: SentOrder) -> None:
        """Send what the worker lacks, once for all orders with the same content.

        Raises:
            SendingError: if the worker cannot keep it.
        """
        with member.lock:
            new = [digest for digest in sent.order.digests if digest not in member.sent]
            if new:
                needed = self.catalog.list_needed(new)
                send(self.client, member.address, needed, self.catalog)
                member.sent.update(new)

    def _ask(self, member: ClusterMember, slots: int, sent: SentOrder) -> bytes:
        """Return the answer of a worker, which receives again what it turned out to lack."""
        for number in range(_MAX_SENDINGS):
            key = f"{self._topic}-{sent.order.nonce}-{number}"
            content = self._submit(member, slots, key, sent)
            try:
                reply = answer.decode(content, sent.order.nonce)
            except AnswerError as error:
                raise create_loss(member.address, str(error), "started") from error
            if isinstance(reply, ContentRefusal):
                raise RefusalError(reply.reason)
            if not isinstance(reply, Needs):
                _check_record(reply, member)
                return content
            with member.lock:
                needed = self.catalog.list_needed(reply.digests)
                send(self.client, member.address, needed, self.catalog)
        raise SendingError("its cache lost the content of an order again and again")

    def _submit(self, member: ClusterMember, slots: int, key: str, sent: SentOrder) -> bytes:
        """Return what the worker answers to an order under this key."""
        self._starts[key] = []
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
            self._starts.pop(key, None)
            member.lost = True
            raise create_loss(member.address, f"it receives no orders: {error}", "sent") from error
        try:
            self._wait(future, key, sent.order.scenario, member)
            content = self._read(future, key, member, sent)
        finally:
            with suppress(Exception):  # the connection may be gone, and the order with it
                future.cancel()
                future.release()
            self._starts.pop(key, None)
        return content

    def _read(self, future: "_Future", key: str, member: ClusterMember, sent: SentOrder) -> bytes:
        """Return the result of an order that ended.

        Raises:
            LostError: if it ended without a result that its worker signed, or was started more
                than once.
        """
        phase = "started" if self._starts[key] else "sent"
        try:
            result: Any = future.result(timeout=_RESULT_SECONDS)  # of whatever type
            content, signature = result
        except KilledWorker:
            member.lost = True
            raise create_loss(member.address, "it was lost", phase) from None
        except Exception as error:
            if future.status == "cancelled":
                member.lost = True
                reason = "the connection to the scheduler was lost"
                raise create_loss(member.address, reason, phase) from None
            raise create_loss(member.address, f"{type(error).__name__}: {error}", phase) from error
        if len(self._starts[key]) > 1:
            raise create_loss(member.address, "the scheduler started the order twice", phase)
        is_pair = isinstance(content, bytes) and isinstance(signature, bytes)
        if not is_pair or not member.certificate.has_signed(content, sent.content, signature):
            raise create_loss(member.address, "its answer is not signed with its key", phase)
        return bytes(content)

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
                if self.interrupt.is_raised:
                    raise StoppedError(self.interrupt.reason)
                started = self._starts[key]
                if started and monotonic() - started[0] > limit:
                    raise create_loss(member.address, f"no answer after {limit:g} s", "started")
        finally:
            os.close(ended)

    def _note_start(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """Note the start of an order in progress; a second one is enough to refuse its result."""
        starts = self._starts.get(str(event[1].get("key")))
        if starts is not None and len(starts) < _MAX_STARTS:
            starts.append(monotonic())


def _check_record(reply: Answer, member: ClusterMember) -> None:
    """Check that the record of an attempt names the worker that signed it, and is complete.

    Raises:
        LostError: if it names another one, or the sandbox may still exist.
    """
    worker = reply.attempt.worker
    if worker is None or worker.certificate != member.certificate.fingerprint:
        raise create_loss(member.address, "its record names another worker", "started")
    if not reply.is_gone:
        raise create_loss(member.address, answer.describe_remains(reply.attempt), "started")


def _wake(descriptor: int) -> None:
    """Wake the thread that waits for an order; it may have left already."""
    with suppress(OSError):
        os.eventfd_write(descriptor, 1)


def _compute_limit(scenario: Scenario) -> float:
    """Return the time after its start in which an attempt must have ended, in seconds."""
    own = scenario.timeout_seconds + scenario.grace_seconds + scenario.settle_seconds
    services = sum(service.timeout_seconds for service in scenario.services)
    return own + services + 2 * START_SECONDS + KILL_SECONDS + DESTROY_SECONDS
