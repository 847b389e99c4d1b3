"""Set up the certificates and the scheduler of a cluster."""

import os
from typing import TYPE_CHECKING

import click

from isosmoke.cluster import require_cluster
from isosmoke.interrupt import Interrupt, interruptible

if TYPE_CHECKING:
    from isosmoke.cluster.local_workers import LocalCluster

_POLL_SECONDS = 0.5


@click.group()
def command() -> None:
    """Set up a cluster: workers that make attempts for `isosmoke run --place`.

    Every listener requires a certificate of this user's authority from its peer. A peer with one
    can run any program as the user of the workers, so a cluster is one domain of trust.
    """


@command.command()
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
def certificates(hosts: tuple[str, ...]) -> None:
    """Create this machine's certificate, and one for each HOST.

    Copy the directory of a HOST to `cluster/own` in the state directory there, over a secure
    channel: it contains a key.
    """
    require_cluster()
    from isosmoke.cluster.identity import certificates as created

    own = created.ensure_own()
    click.echo(f"this machine: {own.directory}  sha256 {own.fingerprint}")
    for host in hosts:
        identity = created.issue(host)
        click.echo(f"{host}: {identity.directory}  sha256 {identity.fingerprint}")


@command.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Listen on this address.")
@click.option("--port", type=click.IntRange(0, 65535), default=8786, show_default=True)
def scheduler(host: str, port: int) -> None:
    """Run the scheduler of a cluster until a signal."""
    require_cluster()
    from isosmoke.cluster import processes
    from isosmoke.cluster.identity import certificates as created

    created.ensure_own()
    processes.run_scheduler(host, port, lambda address: click.echo(f"scheduler {address}"))


@command.command()
@click.option("-n", "workers", type=click.IntRange(1, 64), default=4, show_default=True)
@click.option("--slots", type=click.IntRange(min=1), default=1, show_default=True)
def local(workers: int, slots: int) -> None:
    """Run a scheduler and workers on this machine until a signal."""
    require_cluster()
    from isosmoke.cluster import local_workers as own

    with interruptible() as interrupt, own.running(workers, slots) as cluster:
        pids = " ".join(str(process.pid) for process in cluster.processes[1:])
        click.echo(f"scheduler {cluster.address} pid {cluster.processes[0].pid}")
        click.echo(f"workers {pids}")
        _wait(cluster, interrupt)
    os._exit(0 if interrupt.is_raised else 125)


@command.command()
@click.argument("hosts", nargs=-1, required=True, metavar="HOST...")
@click.option(
    "--host", "listen", required=True, help="Listen on this address, which the HOSTs can reach."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8786, show_default=True)
@click.option("--slots", type=click.IntRange(min=1), help="[default: one per CPU of a HOST]")
@click.option(
    "--program", default="isosmoke", show_default=True, help="Run this as isosmoke on a HOST."
)
def ssh(*, hosts: tuple[str, ...], listen: str, port: int, slots: int | None, program: str) -> None:
    """Run a scheduler here, and through ssh a worker on each HOST, until a signal.

    A HOST receives a certificate and a key for the time of the connection, at whose end its worker
    ends. Its name is that in your ssh_config; ssh must not ask for a password.
    """
    require_cluster()
    from isosmoke.cluster import ssh_workers

    with (
        interruptible() as interrupt,
        ssh_workers.running(
            hosts, listen=listen, port=port, slots=slots, program=program
        ) as cluster,
    ):
        click.echo(f"scheduler {cluster.address} pid {cluster.processes[0].pid}")
        for host, (address, fingerprint) in cluster.workers.items():
            click.echo(f"{host} {address} sha256 {fingerprint}")
        _wait(cluster, interrupt)
    os._exit(0 if interrupt.is_raised else 125)


def _wait(cluster: "LocalCluster", interrupt: Interrupt) -> None:
    """Say how to use a cluster, and wait for a signal or the end of its scheduler."""
    click.echo(f"isosmoke run --place {cluster.address}")
    while not interrupt.wait(_POLL_SECONDS) and cluster.processes[0].poll() is None:
        pass
