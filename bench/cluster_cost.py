"""Measure what a cluster costs: overhead, efficiency, the client's memory; simulate 200 workers.

    python bench/cluster_cost.py [overhead] [efficiency] [memory] [simulation]

Everything runs on this machine, with TLS. Without arguments, all parts run. The simulation uses the
CPU time of the client per attempt that `overhead` measured, or that of `--client-seconds`.
"""

import argparse
import heapq
import itertools
import os
import random
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import monotonic, process_time

from isosmoke.cluster import local_workers
from isosmoke.cluster.connection import connected
from isosmoke.cluster.pool import Pool
from isosmoke.execution import session
from isosmoke.execution.request import Request
from isosmoke.execution.scheduler import Policy
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.manifest import loader
from isosmoke.results.run_results import RunResult

PARTS = ("overhead", "efficiency", "memory", "simulation")
NO_OPS = 2000
PAGE = resource.getpagesize()


def write_manifest(directory: Path, script: str, number: int) -> Path:
    """Write a manifest with this number of scenarios that all run the same script."""
    (directory / "one.sh").write_text(script)
    entries = (
        f'[[scenario]]\nname = "s{item}"\nscript = "one.sh"\nsettle_seconds = 0\n'
        for item in range(number)
    )
    file = directory / "manifest.toml"
    file.write_text("\n".join(entries))
    return file


def run(
    manifest: Path, *, jobs: int | None, place: Pool | None, sizes: list[int] | None = None
) -> RunResult:
    """Run all scenarios of a manifest; add the memory after each result to `sizes`."""
    loaded = loader.load(manifest)
    caller = Caller(
        uid=os.getuid(),
        gid=os.getgid(),
        user=Caller.current().user,
        home=Path.home(),
        working=manifest.parent,
        environment={"PATH": "/usr/bin:/bin"},
    )
    request = Request(
        scenarios=loaded.scenarios,
        manifest=loaded.path,
        policy=Policy(jobs=jobs, confirm="never"),
        place=place,
    )

    def note(_: object) -> None:
        if sizes is not None:
            sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * PAGE)

    result = session.execute(request, caller, notify=note, interrupt=Interrupt())
    outcomes = {str(item.outcome) for item in result.scenarios}
    assert outcomes == {"PASS"}, outcomes  # noqa: S101 - a failure is no measurement
    return result


def list_overheads(result: RunResult) -> list[float]:
    """Return the time of each attempt that its own phases do not explain, in milliseconds."""
    attempts = [item.attempts[0] for item in result.scenarios]
    pairs = itertools.pairwise(attempts)
    return sorted(1000 * (after.begun - one.begun - one.seconds) for one, after in pairs)


def show(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def measure_overhead(directory: Path) -> float:
    """Print the overhead of an attempt here and over the wire; return the client's CPU seconds."""
    manifest = write_manifest(directory, "true\n", 200)
    here = list_overheads(run(manifest, jobs=1, place=None))
    with local_workers.running(1) as cluster, connected(cluster.address, Interrupt()) as place:
        started = process_time()
        there = list_overheads(run(manifest, jobs=1, place=place))
        client_seconds = (process_time() - started) / len(there)
    for name, values in (("here", here), ("worker", there)):
        p90 = quantiles(values, n=10)[-1]
        show(
            f"overhead {name:8} median {median(values):6.1f} ms  p90 {p90:6.1f} ms  n {len(values)}"
        )
    show(f"client   CPU    {client_seconds * 1000:6.1f} ms for each attempt on a worker")
    return client_seconds


def measure_efficiency(directory: Path) -> None:
    """Print the efficiency of 1 to 4 workers on scenarios that wait for half a second."""
    times = []
    for workers in (1, 2, 4):
        manifest = write_manifest(directory, "sleep 0.5\n", 8 * workers)
        with (
            local_workers.running(workers) as cluster,
            connected(cluster.address, Interrupt()) as place,
        ):
            run(write_manifest(directory, "true\n", 2 * workers), jobs=None, place=place)
            write_manifest(directory, "sleep 0.5\n", 8 * workers)
            started = monotonic()
            run(manifest, jobs=None, place=place)
            times.append(monotonic() - started)
        show(f"efficiency {workers} workers  {times[-1]:.2f} s  {times[0] / times[-1]:.2f}")


def measure_memory(directory: Path, number: int) -> None:
    """Print the memory of the client during many no-ops, and its growth per attempt."""
    manifest = write_manifest(directory, "true\n", number)
    sizes: list[int] = []
    with (
        local_workers.running(2, 2) as cluster,
        connected(cluster.address, Interrupt()) as place,
    ):
        started = monotonic()
        run(manifest, jobs=None, place=place, sizes=sizes)
        seconds = monotonic() - started
    begin, end = sizes[len(sizes) // 10], sizes[-1]
    growth = (end - begin) / (number * 0.9)
    show(
        f"memory {number} no-ops in {seconds:.0f} s ({number / seconds:.0f}/s): "
        f"{begin >> 20} MiB after a tenth, {end >> 20} MiB at the end, {growth:.0f} bytes each"
    )


def simulate(client_seconds: float, workers: int = 200, loss: float = 0.02) -> None:
    """Print the time of 10,000 scenarios with losses if the client spends so much on each."""
    for duration in (0.5, 2.0, 10.0):
        seconds, lost = _simulate_run(client_seconds, workers, loss, duration)
        ideal = 10_000 * duration / workers
        limit = "the client" if 1 / client_seconds < workers / duration else "the workers"
        show(
            f"simulation {workers} workers, 10,000 of {duration:g} s: {seconds:.0f} s, ideal "
            f"{ideal:.0f} s ({ideal / seconds:.2f}), {lost} lost attempts, limited by {limit}"
        )


def _simulate_run(
    client_seconds: float, workers: int, loss: float, duration: float
) -> tuple[float, int]:
    """Return the duration of a run and the number of losses: one client serves all in turn."""
    chance = random.Random(1)  # noqa: S311 - the same run each time
    free = [0.0] * workers
    client, lost, waiting = 0.0, 0, 10_000
    while waiting:
        at = max(client, heapq.heappop(free))
        client = at + client_seconds
        if chance.random() < loss:
            lost += 1
            heapq.heappush(free, client + chance.uniform(0, duration) + 30)  # noticed by its ttl
        else:
            waiting -= 1
            heapq.heappush(free, client + duration)
    return max(free), lost


def main(arguments: Sequence[str]) -> None:
    """Run the named parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=PARTS)
    parser.add_argument("--no-ops", type=int, default=NO_OPS)
    parser.add_argument("--client-seconds", type=float)
    given = parser.parse_args(arguments)
    client_seconds = given.client_seconds
    if "simulation" in given.parts and "overhead" not in given.parts and not client_seconds:
        parser.error("a simulation needs the part overhead, or --client-seconds")
    with TemporaryDirectory() as name:
        os.environ.setdefault("ISOSMOKE_STATE", f"{name}/state")
        directory = Path(name, "project")
        directory.mkdir()
        if "overhead" in given.parts:
            measured = measure_overhead(directory)
            client_seconds = client_seconds or measured
        if "efficiency" in given.parts:
            measure_efficiency(directory)
        if "memory" in given.parts:
            measure_memory(directory, given.no_ops)
        if "simulation" in given.parts:
            simulate(client_seconds)


if __name__ == "__main__":
    main(sys.argv[1:])
