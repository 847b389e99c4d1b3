"""Checks that no script can end, stop or open the keeper."""

from signal import SIGKILL

from isosmoke.engines.base import Engine
from isosmoke.results.outcome import Exited
from isosmoke.testing.bench import DEFAULT_OPTIONS, Bench, JobOptions, run, running_job
from isosmoke.testing.contract.checks import (
    DEATH_SECONDS,
    check,
    expect,
    expect_ending,
    expect_pass,
)
from isosmoke.testing.contract.probe_commands import run_probe


@check
def a_script_may_kill_every_visible_process(engine: Engine, bench: Bench) -> None:
    """Check that `kill -9 -1` affects neither the keeper nor the verdict."""
    result = run(engine, bench.shell("kill -9 -1; exit 5"))
    expect_ending(result, Exited(5), "kill -9 -1")


@check
def a_probe_may_be_killed_by_the_script(engine: Engine, bench: Bench) -> None:
    """Check that a script can kill a probe, but nothing else of isosmoke."""
    line = "until test -e /tmp/up; do sleep 0.02; done; kill -9 -1; exit 5"
    with running_job(engine, bench.shell(line)) as keeper:
        status, _ = run_probe(keeper, bench, "touch /tmp/up; sleep 600")
        expect(that=status == SIGKILL, message=f"a killed probe has status {status}")
        status = keeper.wait_for_exit(DEATH_SECONDS)
        expect(that=status == 5 << 8, message=f"the script's status is {status}")
        expect(
            that=keeper.wait_until_empty(DEATH_SECONDS), message="a process of the probe is left"
        )


@check
def the_keeper_survives_every_signal(engine: Engine, bench: Bench) -> None:
    """Check that no signal from inside the sandbox ends or stops PID 1."""
    line = "for number in $(seq 1 64); do kill -$number 1; done 2>/dev/null; exit 6"
    expect_ending(run(engine, bench.shell(line)), Exited(6), "signals to PID 1")


@check
def the_keeper_cannot_be_opened(
    engine: Engine, bench: Bench, options: JobOptions = DEFAULT_OPTIONS
) -> None:
    """Check that no script can open the keeper's descriptors, memory or environment."""
    code = (
        "import os\n"
        "names = [f'fd/{number}' for number in range(64)] + ['mem', 'environ']\n"
        "for name in names:\n"
        "    for mode in (os.O_RDONLY, os.O_WRONLY):\n"
        "        try:\n"
        "            os.open(f'/proc/1/{name}', mode)\n"
        "            print(name)\n"
        "        except OSError:\n"
        "            pass\n"
    )
    result = expect_pass(engine, bench.python(code, options), "python3 cannot be run")
    expect(that=not result.words, message=f"files of the keeper could be opened: {result.words}")
