"""The connection to a scheduler, and which of its workers this client uses."""

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

from distributed import Client

from isosmoke import __version__
from isosmoke.cluster import dask_settings
from isosmoke.cluster.identity import certificates
from isosmoke.cluster.identity.certificates import Identity
from isosmoke.cluster.members import find_members
from isosmoke.cluster.pool import Pool
from isosmoke.cluster.worker_choice import WorkerChoice
from isosmoke.errors import EngineUnavailableError
from isosmoke.interrupt import Interrupt

_CONNECT_SECONDS = 10

_SEND_SECONDS = 0.001
"""The time between two messages to the scheduler, in seconds.

Each order follows the release of the one before, so Dask's 10 ms would delay it.
"""


@contextmanager
def connected(
    address: str, interrupt: Interrupt, pins: Collection[str] = (), *, only_pinned: bool = False
) -> Iterator[Pool]:
    """Connect to the scheduler at `address`, and yield its workers as a place.

    Those with a certificate in `pins`, or with that of this machine, may receive secrets. With
    `only_pinned`, those in `pins` are used, and no other worker is.

    Raises:
        EngineUnavailableError: if there is no scheduler, or no worker that fits this client.
    """
    dask_settings.apply()
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # a loss is reported by the run
    own = certificates.get_own()
    client = _connect(address, own)
    if client.scheduler_comm is not None:
        client.scheduler_comm.interval = _SEND_SECONDS
    try:
        members, others = find_members(client)
        if not members:
            raise _create_misfit(address, others)
        trusted = frozenset(pins if only_pinned else (*pins, own.fingerprint))
        choice = WorkerChoice(
            client=client,
            address=address,
            interrupt=interrupt,
            members=members,
            pins=trusted,
            only_pinned=only_pinned,
        )
        if only_pinned and (why := choice.explain_distrust()):
            raise EngineUnavailableError(
                why, "isosmoke worker, with a certificate of [gate] places"
            )
        choice.notes += [f"the worker {other} is not used" for other in others]
        yield Pool(client, interrupt, choice)
    finally:
        with suppress(Exception):  # nothing of a run depends on a clean end of the connection
            client.close(timeout=2)


def _create_misfit(address: str, others: list[str]) -> EngineUnavailableError:
    if not others:
        return EngineUnavailableError(
            f"the scheduler at {address} has no worker", f"isosmoke worker {address}"
        )
    return EngineUnavailableError(
        f"no worker of {address} fits isosmoke {__version__}: {'; '.join(others)}",
        "install the same versions of isosmoke and distributed on the workers",
    )


class _Client(Client):
    """A client that does nothing at the end of this process, such as to wait for a lost server."""

    def __del__(self) -> None: ...


def _connect(address: str, own: Identity) -> Client:
    """Connect to the scheduler at `address`.

    A server that is none can send anything: what Dask raises then depends on it.

    Raises:
        EngineUnavailableError: if there is none.
    """
    security = certificates.create_security(own)
    try:
        return _Client(  # type: ignore[no-untyped-call]
            address, security=security, timeout=_CONNECT_SECONDS, set_as_default=False
        )
    except Exception as error:
        is_other = isinstance(error, MemoryError)  # garbage as the size of a message
        reason = "its messages are not those of a scheduler" if is_other else str(error)
        raise EngineUnavailableError(
            f"no scheduler with a certificate of this user answers at {address}: "
            f"{reason or type(error).__name__}",
            "isosmoke cluster local, or check the address and the certificates",
        ) from error
