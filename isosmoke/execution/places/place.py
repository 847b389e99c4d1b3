"""The interface of a place: it receives the order of an attempt, and answers with its record."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

from isosmoke.execution.places.known_secrets import KnownSecrets
from isosmoke.results.run_results import LostOrder
from isosmoke.runner.job_builder import RunContext


class LostError(Exception):
    """An attempt has no complete record; `loss` says where and why."""

    def __init__(self, loss: LostOrder) -> None:
        super().__init__(f"{loss.worker}: {loss.reason}")
        self.loss = loss


def create_loss(worker: str, reason: str, phase: str) -> LostError:
    """Return the error that a worker lost an order, which was `sent` to it or `started` there."""
    return LostError(LostOrder(worker=worker, reason=reason, phase=phase))


class AttemptPlace(Protocol):
    """A place in which attempts are made, with room for `slots` of them at once."""

    @property
    def slots(self) -> int: ...

    def publish(self, context: RunContext, known: KnownSecrets) -> Mapping[Path, str]:
        """Make the workspace and the binary of a run available to orders, without secrets.

        Return the digests of directories and files of the caller that orders name by digest.
        """

    def add_path(self, path: Path, emptied: Collection[str] = (), *, owners: bool = True) -> str:
        """Make a file or directory available to orders by this digest, as it is at the first call.

        The directories `emptied` of it are empty there. Without `owners`, everything belongs to
        the user there.

        Raises:
            IsosmokeError: if it cannot be sent.
        """

    def explain_distrust(self) -> str:
        """Return why nothing here may receive secrets, naming the workers; empty if one may."""

    def attempt(self, order: bytes, secrets: bytes = b"", avoided: Collection[str] = ()) -> bytes:
        """Make the attempt of an order, and return its record.

        The `secrets` of its scenario reach only a worker that is pinned. The workers `avoided`,
        which lost this attempt before, receive it only if there are no others. Orders are those of
        `isosmoke.execution.places.order`, and records those of `isosmoke.execution.places.answer`.

        Raises:
            IsosmokeError: if no worker can have the content of the order.
            LostError: if there is no complete record, for whatever reason.
            StoppedError: if the run was interrupted.
        """
