"""The processes of a cluster, which run until a signal: the scheduler, and each worker.

They listen only on TLS sockets that require a certificate, and have no HTTP server.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, BinaryIO

from distributed import Scheduler, Worker
from distributed.comm import get_address_host
from distributed.utils import get_ip

from isosmoke.cluster import dask_settings, tasks
from isosmoke.cluster.identity import certificates
from isosmoke.cluster.identity.certificates import Identity
from isosmoke.host import state
from isosmoke.host.files.trees import remove

_MAX_IDENTITY = 1 << 20
_CLOSE_SECONDS = 5
"""The time in which a process closes its connections after a signal; then it exits anyway."""


class QuietScheduler(Scheduler):
    """A scheduler without an HTTP server."""

    def start_http_server(self, *arguments: Any, **keys: Any) -> None:
        """Start nothing: such a server would accept peers without a certificate."""


class QuietWorker(Worker):
    """A worker without an HTTP server."""

    def start_http_server(self, *arguments: Any, **keys: Any) -> None:
        """Start nothing: such a server would accept peers without a certificate."""


def run_scheduler(host: str, port: int, show: Callable[[str], object], **changes: object) -> None:
    """Run a scheduler until a signal; `show` receives its address once it listens.

    `changes` are other settings of Dask, such as shorter waits.
    """
    dask_settings.apply(**changes)
    identity = certificates.get_own()

    async def serve() -> None:
        scheduler = QuietScheduler(
            host=host,
            port=port,
            protocol="tls",
            dashboard=False,
            security=certificates.create_security(identity),
        )
        await _run(scheduler, lambda: show(scheduler.address))

    _run_until_signal(serve())


def run_worker(
    address: str, slots: int, show: Callable[[str], object], stream: BinaryIO | None = None
) -> None:
    """Run a worker of the scheduler at `address` until a signal, or until that is gone.

    `show` receives its own address once it is a member. The identity is read from `stream`, whose
    end then ends the worker; None is that of this machine.
    """
    dask_settings.apply()
    if stream is None:
        _run_until_signal(_serve_worker(address, slots, certificates.get_own(), show))
        return
    identity = certificates.receive(stream.readline(_MAX_IDENTITY))
    serving = _serve_worker(address, slots, identity, show)
    _run_until_signal(_serve_guest(serving, identity, stream.fileno()))


async def _serve_guest(
    serving: Coroutine[Any, Any, None], identity: Identity, descriptor: int
) -> None:
    """Serve with an identity that is removed at the end; that of the stream ends it as a signal."""

    def end_with_stream() -> None:
        if not os.read(descriptor, 4096):
            asyncio.get_running_loop().remove_reader(descriptor)
            os.kill(os.getpid(), signal.SIGTERM)

    asyncio.get_running_loop().add_reader(descriptor, end_with_stream)
    try:
        await serving
    finally:
        remove(identity.directory)


async def _serve_worker(
    address: str, slots: int, identity: Identity, show: Callable[[str], object]
) -> None:
    scheduler = get_address_host(address)
    worker = QuietWorker(
        address,
        host=get_ip(scheduler),  # only the network of the scheduler, not every network
        nthreads=slots,
        resources={dask_settings.get_fence(): slots},
        security=certificates.create_security(identity),
        protocol="tls",
        memory_limit=0,
        local_directory=str(state.ensure_directory("cluster-scratch")),
        heartbeat_interval="1s",
    )
    tasks.prepare(identity)
    await _run(worker, lambda: show(worker.address))


async def _run(node: Scheduler | Worker, show: Callable[[], object]) -> None:
    """Run a node until a signal, or until it closes itself."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ended.set)
    await node
    show()
    finished = asyncio.create_task(node.finished())  # type: ignore[no-untyped-call]
    stopped = asyncio.create_task(ended.wait())
    await asyncio.wait((finished, stopped), return_when=asyncio.FIRST_COMPLETED)
    tasks.end_all()
    closing = asyncio.create_task(node.close())
    await asyncio.wait((closing,), timeout=_CLOSE_SECONDS)
    tasks.close()


def _run_until_signal(serving: Coroutine[Any, Any, None]) -> None:
    """Run to the end, and exit at once: a thread that hangs in a library keeps nothing alive.

    Every attempt of this process has ended or ends with it, as its sandboxes do.
    """
    code = 0
    try:
        asyncio.run(_exit_after(serving))
    except (OSError, TimeoutError, RuntimeError) as error:
        print(f"isosmoke: {error}", file=sys.stderr)  # noqa: T201 - no logging after the loop
        code = 125
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


async def _exit_after(serving: Coroutine[Any, Any, None]) -> None:
    await serving
    sys.stdout.flush()
    os._exit(0)
