"""A cluster of processes on this machine, which ends with the process that started it."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from ctypes import CDLL
from dataclasses import field
from functools import partial
from time import monotonic

from isosmoke.cluster.identity import certificates
from isosmoke.dataclass import dataclass
from isosmoke.errors import EngineUnavailableError

_START_SECONDS = 60.0
_END_SECONDS = 5.0
_SET_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


@dataclass(slots=True)
class LocalCluster:
    """The address of the scheduler, and the processes: the scheduler first."""

    address: str = ""
    processes: list["subprocess.Popen[str]"] = field(default_factory=list)


@contextmanager
def running(workers: int, slots: int = 1) -> Iterator[LocalCluster]:
    """Run a scheduler and workers on this machine during a block.

    Raises:
        EngineUnavailableError: if one of them does not start.
    """
    certificates.ensure_own()
    cluster = LocalCluster()
    with ExitStack() as stack:
        stack.callback(end, cluster.processes)
        scheduler = start(cluster, "cluster", "scheduler", "--port", "0")
        cluster.address = read_address(scheduler)
        started = [
            start(cluster, "worker", cluster.address, "--slots", str(slots)) for _ in range(workers)
        ]
        for worker in started:
            read_address(worker)
        yield cluster


def start(cluster: LocalCluster, *arguments: str) -> "subprocess.Popen[str]":
    """Start this program with these arguments, as a process of a cluster."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "isosmoke", *arguments],  # no module of the working directory
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=partial(_end_with, os.getpid()),  # noqa: PLW1509 - no other threads run yet
    )
    cluster.processes.append(process)
    return process


def _end_with(parent: int) -> None:
    """Let the kernel end this process when its parent ends (prctl(2))."""
    CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def read_address(process: "subprocess.Popen[str]", name: str = "") -> str:
    """Return the address that a process prints once it is ready; errors call it `name`.

    Raises:
        EngineUnavailableError: if it prints none.
    """
    line = ""
    if process.stdout is not None and select.select([process.stdout], [], [], _START_SECONDS)[0]:
        line = process.stdout.readline()
    words = [word for word in line.split() if word.startswith("tls://")]
    if not words:
        raise EngineUnavailableError(
            f"{name or f'the process {process.pid} of the cluster'} did not start: {line.strip()}",
            "look at its messages above",
        )
    return words[0]


def end(processes: Sequence["subprocess.Popen[str]"]) -> None:
    """End the workers, then the scheduler; kill what remains after a grace period."""
    for process in reversed(processes):
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.terminate()
    end = monotonic() + _END_SECONDS
    for process in processes:
        try:
            process.wait(max(0.1, end - monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in filter(None, (process.stdin, process.stdout)):
            with suppress(BrokenPipeError):
                stream.close()
