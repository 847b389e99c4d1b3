"""Compare the cost of isosmoke with plain `bash` and bare `bwrap`: medians and ratios of one run.

The contenders take turns, so that other load on the machine affects them all alike. `sh dev bench`
runs this program; the number of rounds is the first argument.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from statistics import median
from time import perf_counter

from isosmoke.engines.bubblewrap import bwrap_program
from isosmoke.engines.bubblewrap.engine import BubblewrapEngine
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.keeper import KEEPER_FILE
from isosmoke.redaction import Redactor
from isosmoke.results.outcome import Exited
from isosmoke.runner import sandbox_run
from isosmoke.runner.output import Capture
from isosmoke.sandbox.host_mounts import build_host_mounts
from isosmoke.sandbox.spec import KEEPER, CopyOnWrite, Job, ReadOnly, SandboxSpec

ROUNDS = 40
COLD_ROUNDS = 10
PATH = "/usr/bin:/bin"

Contender = Callable[[], object]


def command(*argv: str, **variables: str) -> Contender:
    """Return a contender that runs a program, with these variables in its environment."""
    inherited = {name: os.environ[name] for name in os.environ.keys() - {"PYTHONDONTWRITEBYTECODE"}}
    environment = {**inherited, **variables}
    return lambda: subprocess.run(argv, check=True, capture_output=True, env=environment)


def completion(*arguments: str) -> Contender:
    """Return a contender that runs bash's completion at the end of these arguments."""
    variables = {"COMP_WORDS": " ".join(arguments), "COMP_CWORD": str(len(arguments) - 1)}
    return command(
        sys.executable, "-m", "isosmoke", **variables, _ISOSMOKE_COMPLETE="bash_complete"
    )


def bare_bwrap() -> Contender:
    """Return the minimal sandbox: fresh namespaces on the host's files."""
    options = ("--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--unshare-pid")
    return command(str(bwrap_program.find_installed()), *options, "--", "bash", "-c", ":")


def warm_scenario(caller: Caller) -> Contender:
    """Return one trivial scenario of a run in progress: sandbox, keeper, leak verdict, removal."""
    engine = BubblewrapEngine()
    job = _build_job(caller)

    def run_once() -> None:
        with Capture(None, 0, redactor=Redactor()) as capture:
            run = sandbox_run.run_job(job, engine, capture=capture, interrupt=Interrupt())
        if run.ending != Exited(0):
            raise SystemExit(f"bench: the scenario did not pass: {run.ending}")

    return run_once


def _build_job(caller: Caller) -> Job:
    mounts = (
        *build_host_mounts(PATH, caller.home, masked=caller.uid == 0),
        ReadOnly(KEEPER_FILE, KEEPER),
        CopyOnWrite(Path(__file__).resolve().parents[1]),
    )
    return Job(
        spec=SandboxSpec(
            label="bench",
            image="host",
            mounts=mounts,
            uid=caller.uid,
            gid=caller.gid,
            network="host",
        ),
        argv=("bash", "-c", ":"),
        folder=PurePosixPath("/"),
        environment={"PATH": PATH},
        timeout=30,
        grace=1,
        settle=2,
    )


def measure(contenders: Mapping[str, Contender], rounds: int) -> Mapping[str, float]:
    """Return each contender's median in milliseconds, without a first warm-up round."""
    durations: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, contender in contenders.items():
            started_at = perf_counter()
            contender()
            durations[name].append((perf_counter() - started_at) * 1000)
    return {name: median(times[1:]) for name, times in durations.items()}


def print_table(title: str, medians: Mapping[str, float]) -> None:
    """Print a table with each contender's ratio to the first row."""
    print(f"\n{title}")
    first = next(iter(medians.values()))
    for name, milliseconds in medians.items():
        print(f"  {name:<42}{milliseconds:9.1f} ms {milliseconds / first:8.1f}x")


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    trivial = {
        "bash -c :": command("bash", "-c", ":"),
        "bwrap … bash -c :": bare_bwrap(),
        "isosmoke, one more scenario": warm_scenario(Caller.current()),
    }
    print_table(f"a trivial scenario, median of {rounds}", measure(trivial, rounds))
    isosmoke = (sys.executable, "-m", "isosmoke")
    cold = {
        "python -c pass": command(sys.executable, "-c", "pass"),
        "isosmoke --help": command(*isosmoke, "--help"),
        "TAB after isosmoke run": completion("isosmoke", "run", "t"),
        "isosmoke run -- true": command(*isosmoke, "run", "--", "true"),
    }
    cold_rounds = min(rounds, COLD_ROUNDS)
    print_table(f"a cold start, median of {cold_rounds}", measure(cold, cold_rounds))


if __name__ == "__main__":
    main()
