"""Checks of the limits on processes and open files."""

import os

from isosmoke.engines.base import Engine
from isosmoke.engines.bubblewrap import group_places
from isosmoke.results.outcome import Exited
from isosmoke.sandbox.spec import ResourceLimits
from isosmoke.testing.bench import Bench, JobOptions, Witness, run, running_job
from isosmoke.testing.contract.checks import check, expect, expect_ending, expect_pass

MIN_PROCESSES, MAX_PROCESSES = 20, 40
"""The minimum number of processes that must fit under the limit, and the limit."""


FORKING = """
import os, sys, time
count = 0
try:
    while count < 200:
        if os.fork() == 0:
            time.sleep(600)
        count += 1
except BlockingIOError:
    pass
print(count, flush=True)
if len(sys.argv) > 1:
    import socket
    line = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    line.sendall(b"up\\n")
    time.sleep(600)
"""


def _is_unlimited() -> bool:
    """Return whether processes cannot be limited: for root without a `pids` control group."""
    return os.getuid() == 0 and "pids" not in group_places.find_parents()


@check
def a_limit_of_processes_holds(engine: Engine, bench: Bench) -> None:
    """Check that a script cannot exceed its limit of processes, and still gets a verdict."""
    if _is_unlimited():
        return
    result = run(
        engine, bench.python(FORKING, JobOptions(limits=ResourceLimits(processes=MAX_PROCESSES)))
    )
    expect_ending(result, Exited(0), "a script at its limit of processes")
    count = int(result.words[0])
    expect(
        that=MIN_PROCESSES <= count < MAX_PROCESSES,
        message=f"{count} processes could be created, not {MAX_PROCESSES}",
    )
    expect(
        that=len(result.survivors) == count,
        message=f"{len(result.survivors)} of {count} were listed",
    )


@check
def a_limit_of_processes_is_the_sandboxes_own(engine: Engine, bench: Bench) -> None:
    """Check that the user's processes elsewhere do not count towards the limit."""
    options = JobOptions(limits=ResourceLimits(processes=MAX_PROCESSES))
    with Witness() as witness:
        full = bench.job(("python3", "-c", FORKING, str(witness.port)), options)
        with running_job(engine, full):
            witness.accept()
            a_limit_of_processes_holds(engine, bench)


@check
def a_limit_of_open_files_holds(engine: Engine, bench: Bench) -> None:
    """Check that RLIMIT_NOFILE is the job's limit."""
    result = expect_pass(
        engine, bench.shell("ulimit -n", JobOptions(limits=ResourceLimits(open_files=99))), "ulimit"
    )
    expect(that=result.words == ["99"], message=f"the limit of open files is {result.words}")
