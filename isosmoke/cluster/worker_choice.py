"""The choice of the worker that receives an order: free, trusted, and if possible not avoided."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import field
from threading import Condition

from distributed import Client

from isosmoke.cluster.members import ClusterMember, find_members, list_addresses
from isosmoke.dataclass import dataclass
from isosmoke.errors import IsosmokeError
from isosmoke.execution.places.order import Order
from isosmoke.execution.places.place import LostError, create_loss
from isosmoke.interrupt import Interrupt
from isosmoke.keeper.exchange import StoppedError

_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class SentOrder:
    """An order, its bytes, the secrets of its scenario, and workers by their address.

    Those of `refusals` never receive it again, for the reason that they gave, and those of
    `avoided` only if there are no others.
    """

    order: Order
    content: bytes
    secrets: bytes = b""
    avoided: Collection[str] = ()
    refusals: dict[str, str] = field(default_factory=dict)

    def seal(self, member: ClusterMember) -> bytes:
        """Return the secrets in a form that only this worker can read; empty without any."""
        return member.certificate.seal(self.secrets, self.content) if self.secrets else b""


@dataclass(slots=True, kw_only=True)
class WorkerChoice:
    """The workers of a scheduler, and their slots.

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
    _free: Condition = field(default_factory=Condition, init=False)

    @property
    def slots(self) -> int:
        """The number of orders that the workers can have at once."""
        return sum(
            member.slots
            for member in self.members
            if self._is_pinned(member) or not self.only_pinned
        )

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

    @contextmanager
    def taken(self, sent: SentOrder) -> Iterator[tuple[ClusterMember, int]]:
        """Take one slot of a worker during a block; for an order alone, all slots of one worker."""
        with self._free:
            while (member := self._find_free(sent)) is None:
                if self.interrupt.is_raised:
                    raise StoppedError(self.interrupt.reason)
                self._free.wait(_POLL_SECONDS)
            slots = member.slots if sent.order.alone else 1
            member.used += slots
        try:
            yield member, slots
        finally:
            with self._free:
                member.used -= slots
                self._free.notify_all()

    def _find_free(self, sent: SentOrder) -> ClusterMember | None:
        """Return the worker with the most free slots; None if all are in use.

        Raises:
            IsosmokeError: if every worker refused the order.
            LostError: if there is no worker any more.
        """
        usable = self._list_usable(sent)
        if not usable:
            try:
                self._find_new_members()
            except LostError:
                if sent.refusals:
                    raise _create_refusal(sent) from None
                raise
            usable = self._list_usable(sent)
        if not usable:
            raise create_loss(self.address, "no worker that is pinned is left", "sent")
        others = [member for member in usable if member.address not in sent.avoided]
        usable = others or usable
        best = max(usable, key=lambda member: member.slots - member.used)
        is_free = best.used == 0 if sent.order.alone else best.used < best.slots
        return best if is_free else None

    def _list_usable(self, sent: SentOrder) -> list[ClusterMember]:
        needs_pin = self.only_pinned or bool(sent.secrets)
        return [
            member
            for member in self.members
            if not member.lost
            and member.address not in sent.refusals
            and (self._is_pinned(member) or not needs_pin)
        ]

    def _find_new_members(self) -> None:
        """Add the workers that joined the cluster during the run.

        Raises:
            LostError: if there are none.
        """
        if self.client.status != "running":
            raise create_loss(self.address, "the scheduler is lost", "sent")
        known = {member.address for member in self.members}
        try:
            found, _ = find_members(self.client)
        except Exception as error:
            raise create_loss(self.address, f"the scheduler is lost: {error}", "sent") from error
        new = [member for member in found if member.address not in known]
        if not new:
            raise create_loss(self.address, "no worker is left", "sent")
        self.members += new

    def check_membership(self, member: ClusterMember) -> None:
        """Use a worker that lost an order no more, unless the scheduler still has it."""
        try:
            members = list_addresses(self.client)
        except (OSError, RuntimeError):  # what is unreachable has no workers
            members = set()
        with self._free:
            member.lost = member.lost or member.address not in members

    def pass_over(self, member: ClusterMember, sent: SentOrder, reason: str) -> None:
        """Use a worker no more for this order: it may have the content of others."""
        name = sent.order.entry.get("name")
        note = f"for {name}, the worker {member.address} is skipped: {reason}"
        with self._free:
            sent.refusals[member.address] = reason
            if note not in self.notes:
                self.notes.append(note)

    def skip(self, member: ClusterMember, reason: str) -> None:
        """Use a worker no more: it cannot keep the content of orders."""
        with self._free:
            member.lost = True
            self.notes.append(f"the worker {member.address} is skipped: {reason}")


def _create_refusal(sent: SentOrder) -> IsosmokeError:
    """Return the error that no worker can have the content of an order."""
    reasons = "; ".join(f"{address}: {reason}" for address, reason in sent.refusals.items())
    return IsosmokeError(
        f"no worker can have its content: {reasons}",
        "make room there, or set ISOSMOKE_CACHE_BYTES of a worker",
    )
