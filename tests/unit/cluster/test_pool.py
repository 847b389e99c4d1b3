"""The client's side of a cluster: which worker receives an order, and what counts as its answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

pytest.importorskip("distributed", reason="the extra isosmoke[cluster] is not installed")
from distributed import Client, KilledWorker

from isosmoke.cluster import dask_settings
from isosmoke.cluster.identity.sealing import WorkerCertificate, WorkerKey
from isosmoke.cluster.members import ClusterMember
from isosmoke.cluster.pool import Pool
from isosmoke.cluster.worker_choice import WorkerChoice
from isosmoke.errors import IsosmokeError
from isosmoke.execution.places import answer
from isosmoke.execution.places.answer import Answer
from isosmoke.execution.places.order import CallerFacts, Order, decode
from isosmoke.execution.places.place import LostError
from isosmoke.interrupt import Interrupt
from isosmoke.results.outcome import Exited
from isosmoke.results.run_results import Attempt, Worker

ORDER = Order(
    caller_facts=CallerFacts(
        run="r",
        engine="auto",
        user="u",
        home="/h",
        working="/h",
        environment={},
        directories=(),
        borrowed_objects=(),
        workspace_working="/h",
    ),
    entry={"name": "one", "script": "one.sh"},
    folder="/scenarios",
    number=1,
    nonce="the-nonce",
)

Reply = Callable[["FakeWorker", Order], object]


@dataclass(slots=True)
class FakeWorker:
    """A worker with its own key, which plays one reply for each order."""

    address: str
    replies: list[Reply]
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    orders: list[Order] = field(default_factory=list)

    def create_member(self, slots: int = 1) -> ClusterMember:
        """Return the worker as its client knows it; its address is its fingerprint."""
        certificate = WorkerCertificate(self.address, self.key.public_key())
        return ClusterMember(address=self.address, slots=slots, certificate=certificate)

    def sign(self, content: bytes, received: Order) -> tuple[bytes, bytes]:
        """Return a signed answer."""
        return content, WorkerKey(self.key).sign(content, received.encode())


def passes(worker: FakeWorker, received: Order) -> object:
    """Return a complete record of a pass."""
    own = Worker(name="w", host="h", pid=1, system="s", certificate=worker.address)
    attempt = Attempt(ending=Exited(0), worker=own)
    record = answer.encode(received.nonce, Answer(attempt=attempt, log=None, is_gone=True))
    return worker.sign(record, received)


def refuses(worker: FakeWorker, received: Order) -> object:
    """Say that there is no room for the content of the order."""
    return worker.sign(answer.encode_refusal(received.nonce, "no room"), received)


def dies(_: FakeWorker, __: Order) -> object:
    """Lose the worker."""
    raise KilledWorker("key", cast(Any, None), 0)


def breaks(_: FakeWorker, __: Order) -> object:
    """Raise an error on a worker, which remains."""
    raise OSError("no such device")


def signs_nothing(_: FakeWorker, __: Order) -> object:
    """Return what is no pair of bytes."""
    return "an answer", None


@dataclass(slots=True)
class FakeFuture:
    """The result of an order, which is there at once."""

    make: Callable[[], object]
    status: str = "finished"

    def add_done_callback(self, function: Callable[["FakeFuture"], object]) -> None:
        """Call the function: the order has ended."""
        function(self)

    def done(self) -> bool:
        """Return True."""
        return True

    def result(self, timeout: float) -> object:
        """Return the result, or raise the error of the worker."""
        return self.make()

    def cancel(self) -> None:
        """Do nothing: the order has ended."""

    def release(self) -> None:
        """Forget nothing."""


@dataclass(slots=True)
class FakeClient:
    """A client of Dask with these workers; all of them report the start of an order."""

    workers: Mapping[str, FakeWorker]
    status: str = "running"
    starts: int = 1
    note: Callable[[tuple[float, Mapping[str, Any]]], object] = print

    def subscribe_topic(
        self, topic: str, handler: Callable[[tuple[float, Mapping[str, Any]]], object]
    ) -> None:
        """Keep the handler of reports."""
        self.note = handler

    def submit(
        self,
        function: object,
        order: bytes,
        *arguments: object,
        workers: Sequence[str],
        **keys: Any,
    ) -> FakeFuture:
        """Let a worker play its next reply."""
        (address,) = workers
        worker, received = self.workers[address], decode(order)
        worker.orders.append(received)
        reply = worker.replies.pop(0)
        for _ in range(self.starts):
            self.note((0.0, {"key": keys["key"]}))
        return FakeFuture(lambda: reply(worker, received))

    def scheduler_info(self, n_workers: int) -> Mapping[str, Any]:
        """Return that every worker is a member."""
        resources = {dask_settings.get_fence(): 1}
        return {"workers": {address: {"resources": resources} for address in self.workers}}

    def run(self, function: object, *arguments: object, workers: Sequence[str], **_: Any) -> Any:
        """Return no certificates."""
        return {}


def create_pool(*workers: FakeWorker, slots: Sequence[int] = (), starts: int = 1) -> Pool:
    """Return workers as a place; the first ones have more slots, and are chosen first."""
    numbers = slots or range(len(workers), 0, -1)
    members = [
        worker.create_member(number) for worker, number in zip(workers, numbers, strict=True)
    ]
    client = cast(Client, FakeClient({worker.address: worker for worker in workers}, starts=starts))
    interrupt = Interrupt()
    choice = WorkerChoice(
        client=client, address="tls://s", interrupt=interrupt, members=members, pins=frozenset("p")
    )
    return Pool(client, interrupt, choice)


def test_order_that_a_worker_refuses_goes_to_another() -> None:
    """The worker that has no room is named, and receives other orders as before."""
    first, second = FakeWorker("a", [refuses, passes]), FakeWorker("b", [passes])
    pool = create_pool(first, second)
    pool.attempt(ORDER.encode())
    pool.attempt(replace(ORDER, nonce="another").encode())

    assert [len(worker.orders) for worker in (first, second)] == [2, 1]
    assert pool.notes == ["for one, the worker a is skipped: no room"]


def test_order_that_all_workers_refuse_is_an_error() -> None:
    """No worker is lost: the error names each one with its reason, and none is asked twice."""
    workers = [FakeWorker("a", [refuses]), FakeWorker("b", [refuses])]
    with pytest.raises(IsosmokeError, match="no worker can have its content: a: no room; b: no"):
        create_pool(*workers).attempt(ORDER.encode())


def test_worker_that_lost_an_attempt_is_avoided() -> None:
    """Another worker receives the order, although it has fewer free slots."""
    first, second = FakeWorker("a", [breaks, passes]), FakeWorker("b", [passes, passes])
    pool = create_pool(first, second)
    with pytest.raises(LostError, match="no such device"):
        pool.attempt(ORDER.encode())
    pool.attempt(ORDER.encode(), avoided=["a"])
    assert [len(worker.orders) for worker in (first, second)] == [1, 1]

    pool.attempt(ORDER.encode(), avoided=["a", "b"])
    assert [len(worker.orders) for worker in (first, second)] == [2, 1]


def test_last_worker_is_not_avoided() -> None:
    """A worker that lost an attempt receives it again if there is no other one."""
    only = FakeWorker("a", [breaks, passes])
    pool = create_pool(only)
    with pytest.raises(LostError):
        pool.attempt(ORDER.encode())
    pool.attempt(ORDER.encode(), avoided=["a"])

    assert len(only.orders) == 2


def test_lost_worker_receives_nothing_more() -> None:
    """A worker that the scheduler lost is not asked again; without another, that is a loss."""
    pool = create_pool(FakeWorker("a", [dies]))
    with pytest.raises(LostError, match="it was lost"):
        pool.attempt(ORDER.encode())
    with pytest.raises(LostError, match="no worker is left"):
        pool.attempt(ORDER.encode())


@pytest.mark.parametrize(
    ("reply", "starts", "reason"),
    [(signs_nothing, 1, "not signed"), (passes, 2, "started the order twice")],
)
def test_answer_that_does_not_count_is_a_loss(reply: Reply, starts: int, reason: str) -> None:
    """A result without a signature, or of an order that was started twice, is none."""
    pool = create_pool(FakeWorker("a", [reply]), starts=starts)
    with pytest.raises(LostError, match=reason):
        pool.attempt(ORDER.encode())


def test_secrets_reach_no_worker_that_is_not_pinned() -> None:
    """Without a pinned worker the order is lost, and no worker received it."""
    worker = FakeWorker("a", [passes])
    with pytest.raises(LostError, match="no worker is left"):
        create_pool(worker).attempt(ORDER.encode(), b"secrets")

    assert worker.orders == []
