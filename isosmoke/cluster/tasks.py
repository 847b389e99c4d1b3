"""The functions that a worker runs, which clients call by name.

A thread next to each attempt polls the state of its order. It ends the sandbox if the order was
withdrawn: by the client, by its death, or because the scheduler or this worker closes.
"""

import asyncio
import os
import platform
import socket
from collections.abc import Callable, Sequence
from dataclasses import field
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

from distributed import get_worker
from distributed.core import Status

from isosmoke import __version__
from isosmoke.cluster.content.blobs import BlobStore, Part
from isosmoke.cluster.identity.certificates import Identity
from isosmoke.cluster.identity.sealing import WorkerKey
from isosmoke.dataclass import dataclass
from isosmoke.execution.places.performer import Performer
from isosmoke.interrupt import Interrupt
from isosmoke.results.run_results import Worker

if TYPE_CHECKING:
    from distributed import Worker as DaskWorker

POLL_SECONDS = 0.1
"""The time between two looks at the state of an order, in seconds."""

_UNAVAILABLE = "unavailable: "
_WITHDRAWN = "the order was withdrawn"
_OPEN = (Status.running, Status.paused, Status.init)


@dataclass(slots=True)
class _Attempts:
    """The attempts in progress on this worker, and what they have in common."""

    performer: Performer
    store: BlobStore
    identity: Identity
    key: WorkerKey
    interrupts: set[Interrupt] = field(default_factory=set)
    lock: Lock = field(default_factory=Lock)


_current: list[_Attempts] = []
"""The state of this process: one entry once it is a worker."""


def prepare(identity: Identity) -> None:
    """Open the cache of this process, before it becomes a worker with this identity."""
    store = BlobStore.open()
    facts = Worker(
        name=f"{socket.gethostname()}:{os.getpid()}",
        host=socket.gethostname(),
        pid=os.getpid(),
        system=describe_system(),
        certificate=identity.fingerprint,
    )
    key = WorkerKey.load(identity)
    _current.append(_Attempts(Performer(store, facts), store, identity, key))


def close() -> None:
    """Remove the files of attempts, after all of them ended."""
    for attempts in _current:
        attempts.performer.close()


def end_all() -> None:
    """End all attempts of this process."""
    for attempts in _current:
        with attempts.lock:
            for interrupt in attempts.interrupts:
                interrupt.raise_for(_WITHDRAWN)


def describe_system() -> str:
    """Return the operating system and the kernel of this machine."""
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        name = "Linux"
    return f"{name}, {platform.system()} {platform.release()} {platform.machine()}"


async def read_certificate() -> bytes:
    """Return the certificate of this worker."""
    (attempts,) = _current
    return attempts.identity.certificate.read_bytes()


def attempt(order: bytes, topic: str, sealed: bytes) -> tuple[bytes, bytes]:
    """Make the attempt of an order, and report its start under `topic`.

    `sealed` are the secrets of its scenario; empty if there are none. Return the answer and its
    signature.
    """
    worker = get_worker()
    key = str(worker.get_current_task())
    (attempts,) = _current
    interrupt, done = Interrupt(), Event()
    with attempts.lock:
        attempts.interrupts.add(interrupt)
    watch = Thread(target=_watch, args=(worker, key, interrupt, done), daemon=True)
    watch.start()
    try:
        begin = _create_report(worker, topic, key)
        opened = attempts.key.open(sealed, order)
        content = attempts.performer.perform(order, interrupt, begin, opened)
        return content, attempts.key.sign(content, order)
    finally:
        done.set()
        with attempts.lock:
            attempts.interrupts.discard(interrupt)


def _create_report(worker: "DaskWorker", topic: str, key: str) -> Callable[[], None]:
    def report() -> None:
        worker.log_event(topic, {"key": key, "worker": worker.address, "pid": os.getpid()})

    return report


def _watch(worker: "DaskWorker", key: str, interrupt: Interrupt, done: Event) -> None:
    while not done.wait(POLL_SECONDS):
        state = worker.state.tasks.get(key)
        is_wanted = state is not None and state.state == "executing"
        if not is_wanted or worker.status not in _OPEN:
            interrupt.raise_for(_WITHDRAWN)
            return


async def find_missing(digests: Sequence[str]) -> tuple[str, ...]:
    """Return the digests of blobs that this worker lacks, as far as it knows them."""
    (attempts,) = _current
    return await asyncio.to_thread(attempts.store.find_missing, digests)


async def put(parts: Sequence[Part], sender: str) -> str:
    """Add parts of blobs of a sender to the cache; return why that is impossible, or nothing.

    This takes place in a thread, so that the worker gives signs of life meanwhile.
    """
    (attempts,) = _current
    return await asyncio.to_thread(attempts.store.put, parts, sender)


def describe() -> dict[str, Any]:
    """Return the facts about this worker that `doctor` shows."""
    from isosmoke.engines import ENGINES
    from isosmoke.errors import IsosmokeError

    engine = ENGINES["bubblewrap"]()
    try:
        engine.preflight()
        found = engine.description
    except IsosmokeError as error:
        found = f"{_UNAVAILABLE}{error.message}"
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "system": describe_system(),
        "engine": found,
        "works": not found.startswith(_UNAVAILABLE),
        "isosmoke": __version__,
        "python": platform.python_version(),
        "cache": str(_current[0].store.directory),
        "certificate": _current[0].identity.fingerprint,
    }
