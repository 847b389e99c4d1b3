"""Run attempts for clients of a cluster on this machine."""

import click

from isosmoke.cluster import require_cluster


@click.command()
@click.argument("address", metavar="tls://HOST:PORT")
@click.option(
    "--slots",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    help="Run at most N attempts at once.  [default: one per CPU]",
)
@click.option(
    "--identity-from-stdin",
    is_flag=True,
    help="Read certificate and key from stdin, as `cluster ssh` sends them, and end with it.",
)
def command(address: str, slots: int | None, *, identity_from_stdin: bool) -> None:
    """Run attempts for the clients of the scheduler at ADDRESS, until a signal.

    Every client that has a certificate of the cluster can run any program as this user. If this
    process ends for whatever reason, its sandboxes end with it.
    """
    require_cluster()
    import os
    import sys

    from isosmoke.cluster import processes

    number = slots or len(os.sched_getaffinity(0))
    processes.run_worker(
        address,
        number,
        lambda own: click.echo(f"worker {own} with {number} slots at {address}"),
        sys.stdin.buffer if identity_from_stdin else None,
    )
