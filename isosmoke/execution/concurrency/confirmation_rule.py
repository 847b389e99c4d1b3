"""The rule that decides whether a failure next to other scenarios has to be confirmed (pure).

A failure counts at once only if what was measured excludes that a neighbour caused it. What was not
measured counts as possible, so the rule errs towards a confirmation only.
"""

import re
from collections.abc import Iterator
from typing import Literal

from isosmoke.manifest.models import Scenario
from isosmoke.results.machine_load import Doubt, Load
from isosmoke.results.outcome import Broke, TimedOut
from isosmoke.results.run_results import Attempt

HARMLESS_SECONDS = 0.05
"""The total time that processes may wait for a resource without doubt, in seconds.

Processes on an idle machine wait as long for timers, page faults and each other.
"""

HARMLESS_SHARE_OF_SHORT = 0.2
"""The share of a shorter attempt's duration that its processes may wait without doubt."""

HARMLESS_SHARE = 0.01
"""The share of a longer attempt's duration that its processes may wait without doubt."""

LEAST_FREE_MEMORY = 0.1
"""The share of the memory that must have been available at all times."""

LEAST_FREE_DISK = 1 << 30
"""The free space that the disk of the sandboxes must have had at all times, in bytes."""

MOST_USED_DISK = 256 << 20
"""The amount by which the free space may fall, in bytes: a script can check for free space."""

_EXHAUSTED = re.compile(
    r"address (?:already )?in use|too many open files|resource temporarily unavailable"
    r"|no space left|cannot allocate memory|out of memory|quota exceeded|EADDRINUSE|E[MN]FILE"
    r"|EAGAIN|ENOSPC|ENOMEM|no child process slots|can't fork|cannot fork|fork: retry",
    re.IGNORECASE,
)


def find_doubts(scenario: Scenario, attempt: Attempt, load: Load | None) -> tuple[Doubt, ...]:
    """Return every way in which a neighbour may have caused the failure of an attempt.

    `load` was measured during the attempt; None if nothing was.
    """
    return tuple(_list_doubts(scenario, attempt, load))


def _list_doubts(scenario: Scenario, attempt: Attempt, load: Load | None) -> Iterator[Doubt]:
    if isinstance(attempt.ending, Broke):
        yield Doubt(kind="engine", text="the sandbox itself broke")
    if isinstance(attempt.ending, TimedOut):
        yield Doubt(kind="deadline", text="the script missed its deadline")
    yield from _check_outside(scenario)
    yield from _check_output(attempt)
    if load is None:
        yield Doubt(kind="unmeasured", text="the load of its machine was not measured")
        return
    yield from _check_wait("cpu", "a CPU", load.cpu_wait, load.seconds)
    yield from _check_wait("memory", "memory", load.memory_wait, load.seconds)
    yield from _check_wait("io", "a disk", load.io_wait, load.seconds)
    yield from _check_memory(load)
    yield from _check_disk(load)
    if scenario.network != "isolated":
        yield from _check_network(load)


def _check_outside(scenario: Scenario) -> Iterator[Doubt]:
    """Yield a doubt about what a scenario reaches outside its sandbox by its manifest entry."""
    named = {
        "requires.endpoints": scenario.requires.endpoints,
        "services": scenario.services,
        "pass_env": scenario.pass_env,
        "pass_files": scenario.pass_files,
    }
    keys = ", ".join(key for key, value in named.items() if value)
    if keys:
        yield Doubt(kind="outside", text=f"it may share what is outside its sandbox: {keys}")


def _check_output(attempt: Attempt) -> Iterator[Doubt]:
    """Yield a doubt if the kept output names a resource that programs share and that ran out."""
    for captured in (attempt.output, attempt.stderr):
        kept = (captured.head + b"\n" + captured.tail).decode(errors="replace")
        if match := _EXHAUSTED.search(kept):
            yield Doubt(kind="exhausted", text=f"its output has '{match[0]}'")
            return


def _check_wait(
    kind: Literal["cpu", "memory", "io"], resource: str, wait: float | None, seconds: float
) -> Iterator[Doubt]:
    if wait is None:
        yield Doubt(kind="unmeasured", text=f"the time of waiting for {resource} is unknown")
        return
    harmless = min(HARMLESS_SECONDS, HARMLESS_SHARE_OF_SHORT * seconds)
    if wait > max(harmless, HARMLESS_SHARE * seconds):
        text = f"its processes may have waited {wait:.2f} of {seconds:.2f} s for {resource}"
        yield Doubt(kind=kind, text=text)


def _check_memory(load: Load) -> Iterator[Doubt]:
    if load.free_memory is None or load.killed is None:
        yield Doubt(kind="unmeasured", text="the use of memory is unknown")
        return
    if load.killed:
        yield Doubt(kind="space", text="the kernel ended processes for lack of memory")
    if load.free_memory < LEAST_FREE_MEMORY:
        text = f"at times only {load.free_memory:.0%} of the memory was available"
        yield Doubt(kind="space", text=text)


def _check_disk(load: Load) -> Iterator[Doubt]:
    if load.free_disk is None or load.used_disk is None:
        yield Doubt(kind="unmeasured", text="the free space of the disk is unknown")
        return
    if load.free_disk < LEAST_FREE_DISK:
        text = f"at times the disk had only {load.free_disk >> 20} MiB free"
        yield Doubt(kind="space", text=text)
    elif load.used_disk > MOST_USED_DISK:
        text = f"the free space of the disk fell by {load.used_disk >> 20} MiB"
        yield Doubt(kind="space", text=text)


def _check_network(load: Load) -> Iterator[Doubt]:
    """Yield doubts about the host's network, whose ports and abstract sockets scenarios share."""
    if load.sockets is None or load.connections is None:
        yield Doubt(kind="unmeasured", text="the use of the host's network is unknown")
        return
    if load.sockets:
        more = f" and {len(load.sockets) - 1} more" if len(load.sockets) > 1 else ""
        yield Doubt(kind="network", text=f"a process listened on {load.sockets[0]}{more}")
    if load.connections:
        text = f"{load.connections} connections were opened on the host's network"
        yield Doubt(kind="network", text=text)
