"""The deadline of a script, and the time in which its processes may settle."""

from isosmoke.engines.base import Engine
from isosmoke.results.outcome import TimedOut
from isosmoke.testing.bench import Bench, Terms, run
from isosmoke.testing.contract.checks import (
    PROMPT_SECONDS,
    check,
    expect,
    expect_ending,
    expect_pass,
)


@check
def a_deadline_ends_what_listens(engine: Engine, bench: Bench) -> None:
    """SIGTERM comes at the deadline; who ends by it is not killed."""
    line = "trap 'echo told; exit 0' TERM; echo up; while :; do read -t 60 <> <(:); done"
    seen = run(engine, bench.shell(line, Terms(timeout=0.5, grace=10)))
    expect_ending(seen, TimedOut(0.5), "a deadline")
    expect(that=seen.words == ["up", "told"], words=f"it saw no SIGTERM: {seen.words}")
    expect(that=seen.phases["run"] < PROMPT_SECONDS, words="who ended at SIGTERM was waited for")


@check
def a_deadline_kills_what_does_not_listen(engine: Engine, bench: Bench) -> None:
    """Who ignores SIGTERM has the grace, and then no more."""
    seen = run(engine, bench.shell("trap '' TERM; sleep 600", Terms(timeout=0.5, grace=0.5)))
    expect_ending(seen, TimedOut(0.5), "a deadline")
    expect(that=1 <= seen.phases["run"] < PROMPT_SECONDS, words="SIGKILL came at another time")


@check
def what_ends_in_time_is_no_survivor(engine: Engine, bench: Bench) -> None:
    """A process may end within the settle time, and nobody waits longer than it needs."""
    job = bench.shell("sleep 0.3 & exit 0", Terms(settle=30))
    seen = expect_pass(engine, job, "what ended in time was listed")
    expect(that=seen.phases["settle"] < PROMPT_SECONDS, words="an empty sandbox was waited for")
