"""Probes of an engine on this machine: its limits and its network, tried in sandboxes."""

import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

from isosmoke.dataclass import dataclass
from isosmoke.engines.base import Engine, EngineInfo
from isosmoke.engines.bubblewrap import group_places
from isosmoke.errors import EngineError
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.keeper import KEEPER_FILE
from isosmoke.redaction import Redactor
from isosmoke.results.outcome import Broke, Exited, Signaled
from isosmoke.runner import bash_finder, sandbox_run
from isosmoke.runner.output import Capture
from isosmoke.runner.sandbox_run import SandboxRun
from isosmoke.sandbox.host_mounts import build_host_mounts
from isosmoke.sandbox.spec import (
    HOST_IMAGE,
    KEEPER,
    Fresh,
    Job,
    Mount,
    ReadOnly,
    ResourceLimits,
    SandboxSpec,
)

_MEMORY = 64 << 20
_EXCEED_MEMORY = f"set -o pipefail; head -c {2 * _MEMORY} /dev/zero | tail | wc -c"
"""`tail` holds the whole of an unterminated line in memory."""

_PROCESSES = 30
EXCEED_PROCESSES = """\
{
    children=/proc/$$/task/$$/children
    while [ -e $children ] && { read -r first second <$children; [ -z "$second" ]; }; do :; done
    i=0
    while [ $i -lt 60 ]; do sleep 600 >&- & i=$((i+1)); done
    echo all
} 2>&1 | while read -r line; do
    case $line in
    *fork*) kill -USR2 $$ ;;
    all) kill -USR1 $$ ;;
    esac
done
"""
"""A script that ends by SIGUSR2 if a process was refused, and by SIGUSR1 if none was.

At the limit dash aborts at once, whereas bash retries for many seconds; both print a message first.
The first part waits until the shell has started the second, which the limit would refuse otherwise.
"""

_SECONDS = 120.0
"""The maximum duration of a trial, which usually takes less than a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """The features that work; `host_network` refers to the network of this machine.

    A limit is None if its trial proved nothing, for example because it took too long.
    """

    memory_limit: bool | None
    processes_limit: bool | None
    host_network: bool


@dataclass(frozen=True, slots=True)
class MissingFeature:
    """A feature that scenarios do not get from an engine, and a hint for enabling it."""

    words: str
    hint: str


def probe_engine(engine: Engine, caller: Caller) -> ProbeResult:
    """Try each feature in its own sandbox.

    Raises:
        EngineError: if no sandbox can be created.
    """
    bash = bash_finder.find(HOST_IMAGE, caller.working).path
    host_network = _can_reach_host(engine, caller, bash)
    with ThreadPoolExecutor(2) as pool:
        memory = pool.submit(_run, engine, _build_job(caller, bash, _EXCEED_MEMORY, memory=_MEMORY))
        many = _build_job(caller, "/bin/sh", EXCEED_PROCESSES, processes=_PROCESSES)
        processes = pool.submit(_run, engine, many)
    return ProbeResult(
        memory_limit=_judge_memory_trial(memory.result()),
        processes_limit=_judge_processes_trial(processes.result()),
        host_network=host_network,
    )


def _judge_memory_trial(run: SandboxRun) -> bool | None:
    """Return whether the limit killed a process; None if the script failed for another reason."""
    if run.ending == Exited(0):
        return False
    return True if run.reached_limits else None


def _judge_processes_trial(run: SandboxRun) -> bool | None:
    """Return whether the limit refused a process; None if that is unknown."""
    match run.ending:
        case Signaled(signal.SIGUSR2):
            return True
        case Signaled(signal.SIGUSR1):
            return False
        case _:
            return None


def find_missing_features(facts: EngineInfo, probe: ProbeResult) -> Iterator[MissingFeature]:
    """Yield the features that do not work, or of which that is unknown."""
    limits = {"limits.memory": probe.memory_limit, "limits.processes": probe.processes_limit}
    for name, holds in limits.items():
        if holds is None:
            yield MissingFeature(
                f"proof that {name} has an effect: its trial did not reach the limit in time",
                "run isosmoke doctor again when the machine is less busy",
            )
        elif not holds:
            yield MissingFeature(f"{name} has no effect", _choose_limits_hint(facts))
    if not probe.host_network:
        yield MissingFeature(
            "the host network is not this machine's network: its services are unreachable",
            "choose --engine bubblewrap, or a daemon outside a virtual machine",
        )


def _choose_limits_hint(facts: EngineInfo) -> str:
    if facts.rootless and facts.cgroup == 1:
        return "boot with systemd.unified_cgroup_hierarchy=1: version 1 is for root only"
    if facts.cgroup is None:
        return (
            f"{group_places.suggest_group()}, or choose --engine docker or podman for scenarios "
            "with limits"
        )
    return "enable the controllers memory and pids for the engine (cgroups(7))"


def _can_reach_host(engine: Engine, caller: Caller, bash: str) -> bool:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        return _passes(engine, _build_job(caller, bash, f"exec 3<>/dev/tcp/127.0.0.1/{port}"))


def _passes(engine: Engine, job: Job) -> bool:
    return _run(engine, job).ending == Exited(0)


def _run(engine: Engine, job: Job) -> SandboxRun:
    with Capture(None, 0, redactor=Redactor()) as capture:
        run = sandbox_run.run_job(job, engine, capture=capture, interrupt=Interrupt())
    if run.cleanup_failures:
        raise EngineError(run.cleanup_failures[0])
    if isinstance(run.ending, Broke):
        raise EngineError(run.ending.message)
    return run


def _build_job(
    caller: Caller,
    shell: str,
    line: str,
    *,
    memory: int | None = None,
    processes: int | None = None,
) -> Job:
    path = caller.environment.get("PATH", os.defpath)
    spec = SandboxSpec(
        label="doctor",
        image=HOST_IMAGE,
        mounts=tuple(_list_mounts(caller, path)),
        uid=caller.uid,
        gid=caller.gid,
        network="host",
        limits=ResourceLimits(memory=memory, processes=processes),
    )
    return Job(
        spec=spec,
        argv=(shell, "-c", line),
        folder=PurePosixPath("/"),
        environment={"PATH": path},
        timeout=_SECONDS,
        grace=0.0,
        settle=0.0,
    )


def _list_mounts(caller: Caller, path: str) -> Iterator[Mount]:
    yield from build_host_mounts(path, caller.home, masked=caller.uid == 0)
    yield Fresh(PurePosixPath("/run"), 0o755)
    yield ReadOnly(KEEPER_FILE, KEEPER)
