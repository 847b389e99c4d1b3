"""Workers on other machines, each started through `ssh`, that end with the process that started it.

Dask's SSHCluster starts Dask's own worker, which declares no version and has an HTTP server, and it
expects that each machine has its key already. It also needs a library that reads only a part of the
user's ssh_config. `ssh` itself has none of these limits.
"""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import field
from shlex import quote

from isosmoke.cluster import local_workers
from isosmoke.cluster.identity import certificates
from isosmoke.cluster.identity.certificates import Identity
from isosmoke.cluster.local_workers import LocalCluster
from isosmoke.dataclass import dataclass
from isosmoke.errors import EngineUnavailableError


@dataclass(slots=True)
class RemoteCluster(LocalCluster):
    """A scheduler here, and `workers`: for each host its worker's address and certificate."""

    workers: dict[str, tuple[str, str]] = field(default_factory=dict)


@contextmanager
def running(
    hosts: Sequence[str], *, listen: str, port: int, slots: int | None, program: str
) -> Iterator[RemoteCluster]:
    """Run a scheduler here, and a worker on each host that ssh knows by this name, during a block.

    The scheduler listens on the address `listen`, which the hosts can reach. `program` is the
    command isosmoke there.

    Raises:
        EngineUnavailableError: if one of them does not start.
    """
    certificates.ensure_own()
    identities = {host: certificates.issue(host, renew=False) for host in hosts}
    cluster = RemoteCluster()
    with ExitStack() as stack:
        stack.callback(local_workers.end, cluster.processes)
        address = ("--host", listen, "--port", str(port))
        scheduler = local_workers.start(cluster, "cluster", "scheduler", *address)
        cluster.address = local_workers.read_address(scheduler)
        options = f"--slots {slots} --identity-from-stdin" if slots else "--identity-from-stdin"
        command = f"{program} worker {quote(cluster.address)} {options}"
        started = {
            host: _start(cluster, host, command, identity) for host, identity in identities.items()
        }
        for host, process in started.items():
            found = local_workers.read_address(process, f"the worker on {host}")
            cluster.workers[host] = (found, identities[host].fingerprint)
        yield cluster


def _start(
    cluster: RemoteCluster, host: str, command: str, identity: Identity
) -> "subprocess.Popen[str]":
    """Start a command on a host, and send it an identity; its stdin stays open."""
    try:
        process = subprocess.Popen(
            ["ssh", "-T", "-o", "BatchMode=yes", host, command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    except OSError as error:
        raise EngineUnavailableError(
            f"ssh cannot be run: {error.strerror}", "install it"
        ) from error
    cluster.processes.append(process)
    if process.stdin is not None:
        with suppress(BrokenPipeError):  # it has ended, and says why
            process.stdin.write(f"{identity.format()}\n")
            process.stdin.flush()
    return process
