"""The workers of a scheduler as a place, with at most as many orders as free slots.

Nothing but a complete answer of the worker that received an order is a result. Whatever happens to
a worker, its connection or the scheduler before that raises `LostError`.
"""

from collections.abc import Collection, Mapping
from dataclasses import field
from pathlib import Path
from threading import Lock
from typing import Any

from distributed import Client

from isosmoke.cluster import tasks
from isosmoke.cluster.content import exact_trees, trees
from isosmoke.cluster.content.sending import SendingError
from isosmoke.cluster.content.trees import Catalog
from isosmoke.cluster.members import ClusterMember
from isosmoke.cluster.order_exchange import OrderExchange, RefusalError
from isosmoke.cluster.worker_choice import SentOrder, WorkerChoice
from isosmoke.dataclass import dataclass
from isosmoke.execution.places.known_secrets import KnownSecrets
from isosmoke.execution.places.order import decode
from isosmoke.execution.places.place import LostError
from isosmoke.interrupt import Interrupt
from isosmoke.runner.job_builder import RunContext


@dataclass(slots=True)
class Pool:
    """The workers of a scheduler as a place: those of `choice`."""

    client: Client
    interrupt: Interrupt
    choice: WorkerChoice
    _exchange: OrderExchange = field(init=False)
    _catalog: Catalog = field(default_factory=Catalog, init=False)
    _adding: Lock = field(default_factory=Lock, init=False)
    _added: dict[tuple[Path, bool, int, int, int], str] = field(default_factory=dict, init=False)
    """The digests of what was added, by path, device, inode and time of change."""

    def __post_init__(self) -> None:
        self._exchange = OrderExchange(
            client=self.client, interrupt=self.interrupt, catalog=self._catalog
        )

    @property
    def slots(self) -> int:
        """The number of orders that the workers can have at once."""
        return self.choice.slots

    @property
    def notes(self) -> list[str]:
        """The notes about workers that are not used."""
        return self.choice.notes

    @property
    def members(self) -> list[ClusterMember]:
        """The workers that fit this client."""
        return self.choice.members

    def explain_distrust(self) -> str:
        """Return why no worker may receive secrets, naming them; empty if one may."""
        return self.choice.explain_distrust()

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
        sent = SentOrder(decode(order), order, secrets, avoided)
        while True:
            with self.choice.taken(sent) as (member, slots):
                try:
                    return self._exchange.perform(member, slots, sent)
                except RefusalError as error:
                    self.choice.pass_over(member, sent, str(error))
                except SendingError as error:
                    self.choice.skip(member, str(error))
                except LostError:
                    self.choice.check_membership(member)
                    raise
