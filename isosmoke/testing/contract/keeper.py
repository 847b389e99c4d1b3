"""The keeper, which no script can end, stop or open."""

from signal import SIGKILL

from isosmoke.engines.base import Engine
from isosmoke.results.outcome import Exited
from isosmoke.testing.bench import PLAIN, Bench, Terms, going, run
from isosmoke.testing.contract.checks import (
    DEATH_SECONDS,
    check,
    expect,
    expect_ending,
    expect_pass,
)
from isosmoke.testing.contract.probes import run_probe


@check
def a_script_may_kill_all_it_sees(engine: Engine, bench: Bench) -> None:
    """`kill -9 -1` hits neither the keeper nor the verdict."""
    seen = run(engine, bench.shell("kill -9 -1; exit 5"))
    expect_ending(seen, Exited(5), "kill -9 -1")


@check
def a_probe_may_be_killed_by_the_script(engine: Engine, bench: Bench) -> None:
    """A script that kills all it sees kills a probe too, and that is all it can do to one."""
    line = "until test -e /tmp/up; do sleep 0.02; done; kill -9 -1; exit 5"
    with going(engine, bench.shell(line)) as keeper:
        status, _ = run_probe(keeper, bench, "touch /tmp/up; sleep 600")
        expect(that=status == SIGKILL, words=f"a probe that was killed told {status}")
        status = keeper.exited(DEATH_SECONDS)
        expect(that=status == 5 << 8, words=f"the script's status is {status}")
        expect(that=keeper.empty(DEATH_SECONDS), words="something of the probe is left")


@check
def the_keeper_survives_every_signal(engine: Engine, bench: Bench) -> None:
    """No signal from inside ends or stops PID 1."""
    line = "for one in $(seq 1 64); do kill -$one 1; done 2>/dev/null; exit 6"
    expect_ending(run(engine, bench.shell(line)), Exited(6), "signals to PID 1")


@check
def the_keeper_cannot_be_opened(engine: Engine, bench: Bench, terms: Terms = PLAIN) -> None:
    """Its descriptors, memory and environment are closed to everybody, root too."""
    code = (
        "import os\n"
        "names = [f'fd/{one}' for one in range(64)] + ['mem', 'environ']\n"
        "for name in names:\n"
        "    for mode in (os.O_RDONLY, os.O_WRONLY):\n"
        "        try:\n"
        "            os.open(f'/proc/1/{name}', mode)\n"
        "            print(name)\n"
        "        except OSError:\n"
        "            pass\n"
    )
    seen = expect_pass(engine, bench.python(code, terms), "python3 cannot be run")
    expect(that=not seen.words, words=f"of the keeper could be opened: {seen.words}")
