"""What isosmoke costs beside plain `bash` and bare `bwrap`: medians and ratios from one run.

The contenders take turns, so that whatever else the machine does meets them all alike.
Run by `sh dev bench`; the number of rounds is the first argument.
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
from isosmoke.sandbox.host_mounts import host_mounts
from isosmoke.sandbox.spec import KEEPER, CopyOnWrite, Job, ReadOnly, SandboxSpec

ROUNDS = 40
COLD_ROUNDS = 10
PATH = "/usr/bin:/bin"

Contender = Callable[[], object]


def command(*argv: str, **more: str) -> Contender:
    """Start a program, with more in its environment, and wait for it."""
    environment = {**os.environ, **more}
    return lambda: subprocess.run(argv, check=True, capture_output=True, env=environment)


def tab(*words: str) -> Contender:
    """What bash runs when TAB is pressed behind these words."""
    asked = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    return command(sys.executable, "-m", "isosmoke", **asked, _ISOSMOKE_COMPLETE="bash_complete")


def bare_bwrap() -> Contender:
    """The least a sandbox can cost: fresh namespaces on the host's files."""
    options = ("--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--unshare-pid")
    return command(bwrap_program.program().path, *options, "--", "bash", "-c", ":")


def warm_scenario(caller: Caller) -> Contender:
    """One trivial scenario in a run that is under way: sandbox, keeper, leak verdict, removal."""
    engine = BubblewrapEngine()
    job = _job(caller)

    def once() -> None:
        with Capture(None, 0, redactor=Redactor()) as capture:
            run = sandbox_run.run_job(job, engine, capture=capture, interrupt=Interrupt())
        if run.ending != Exited(0):
            raise SystemExit(f"bench: the scenario did not pass: {run.ending}")

    return once


def _job(caller: Caller) -> Job:
    mounts = (
        *host_mounts(PATH, caller.home, masked=caller.uid == 0),
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


def interleaved(contenders: Mapping[str, Contender], rounds: int) -> Mapping[str, float]:
    """Each contender's median in milliseconds, after one round that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, contender in contenders.items():
            begun = perf_counter()
            contender()
            taken[name].append((perf_counter() - begun) * 1000)
    return {name: median(times[1:]) for name, times in taken.items()}


def show(title: str, medians: Mapping[str, float]) -> None:
    """A table; the ratio is to its first row."""
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
        "isosmoke, one more scenario": warm_scenario(Caller.here()),
    }
    show(f"a trivial scenario, median of {rounds}", interleaved(trivial, rounds))
    isosmoke = (sys.executable, "-m", "isosmoke")
    cold = {
        "python -c pass": command(sys.executable, "-c", "pass"),
        "isosmoke --help": command(*isosmoke, "--help"),
        "TAB after isosmoke run": tab("isosmoke", "run", "t"),
        "isosmoke run -- true": command(*isosmoke, "run", "--", "true"),
    }
    cold_rounds = min(rounds, COLD_ROUNDS)
    show(f"a cold start, median of {cold_rounds}", interleaved(cold, cold_rounds))


if __name__ == "__main__":
    main()
