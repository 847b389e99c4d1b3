"""Limits of processes and open files."""

import os

from isosmoke.engines.base import Engine
from isosmoke.engines.bubblewrap import cgroup
from isosmoke.results.outcome import Exited
from isosmoke.sandbox.spec import Limits
from isosmoke.testing.bench import Bench, Terms, Witness, going, run
from isosmoke.testing.contract.checks import check, expect, expect_ending, expect_pass

MIN_PROCESSES, MAX_PROCESSES = 20, 40
"""The fewest processes that must be possible under a limit, and the limit."""


FORKING = """
import os, sys, time
made = 0
try:
    while made < 200:
        if os.fork() == 0:
            time.sleep(600)
        made += 1
except BlockingIOError:
    pass
print(made, flush=True)
if len(sys.argv) > 1:
    import socket
    line = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    line.sendall(b"up\\n")
    time.sleep(600)
"""


def _cannot_limit() -> bool:
    """Root without control groups cannot be limited, unless there is a daemon that does it."""
    return os.getuid() == 0 and "pids" not in cgroup.parents()


@check
def a_limit_of_processes_holds(engine: Engine, bench: Bench) -> None:
    """A script gets no more processes than it may have, and is judged all the same."""
    if _cannot_limit():
        return
    seen = run(engine, bench.python(FORKING, Terms(limits=Limits(processes=MAX_PROCESSES))))
    expect_ending(seen, Exited(0), "at the limit")
    made = int(seen.words[0])
    expect(
        that=MIN_PROCESSES <= made < MAX_PROCESSES,
        words=f"{made} processes could be made, not {MAX_PROCESSES}",
    )
    expect(that=len(seen.survivors) == made, words=f"{len(seen.survivors)} of {made} were listed")


@check
def a_limit_of_processes_is_the_sandboxes_own(engine: Engine, bench: Bench) -> None:
    """What the same user runs elsewhere, in a full sandbox too, takes nothing from the limit."""
    terms = Terms(limits=Limits(processes=MAX_PROCESSES))
    with Witness() as witness:
        full = bench.job(("python3", "-c", FORKING, str(witness.port)), terms)
        with going(engine, full):
            witness.met()
            a_limit_of_processes_holds(engine, bench)


@check
def a_limit_of_open_files_holds(engine: Engine, bench: Bench) -> None:
    """RLIMIT_NOFILE is what the job says."""
    seen = expect_pass(
        engine, bench.shell("ulimit -n", Terms(limits=Limits(open_files=99))), "ulimit"
    )
    expect(that=seen.words == ["99"], words=f"{seen.words} files may be open")
