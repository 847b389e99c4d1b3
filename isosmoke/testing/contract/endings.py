"""The ending, the deadline and the output of a script."""

from isosmoke.engines.base import Engine
from isosmoke.results.outcome import Broke, Exited, Signaled, TimedOut
from isosmoke.testing.bench import Bench, Terms, run
from isosmoke.testing.contract.checks import (
    PROMPT_SECONDS,
    check,
    expect,
    expect_ending,
    expect_pass,
)

_MUCH = 20_000_000


@check
def every_ending_is_told_apart(engine: Engine, bench: Bench) -> None:
    """An exit code is not a signal, whatever its number."""
    for line, ending in (
        ("exit 0", Exited(0)),
        ("exit 77", Exited(77)),
        ("exit 143", Exited(143)),
        ("exit 255", Exited(255)),
        ("kill -TERM $$", Signaled(15)),
        ("kill -KILL $$", Signaled(9)),
    ):
        expect_ending(run(engine, bench.shell(line)), ending, line)


@check
def a_missing_program_is_named(engine: Engine, bench: Bench) -> None:
    """What cannot be started is no failure of a script; the message says what it was."""
    ending = run(engine, bench.job(("no-such-program",))).ending
    named = isinstance(ending, Broke) and "no-such-program" in ending.message
    expect(that=named, words=f"a missing program came out as {ending}")


@check
def binary_output_is_untouched(engine: Engine, bench: Bench) -> None:
    """Every byte comes back, also zero, escape and what is no UTF-8."""
    code = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 8)"
    seen = expect_pass(engine, bench.python(code), "python3 cannot be run")
    expect(that=seen.output == bytes(range(256)) * 8, words="the output was changed on its way")


@check
def a_stream_keeps_its_order(engine: Engine, bench: Bench) -> None:
    """Lines of one stream arrive as they were printed, all of them, without a final newline too."""
    seen = expect_pass(engine, bench.shell("seq 2000; printf end"), "seq cannot be run")
    wanted = [*(str(one) for one in range(1, 2001)), "end"]
    expect(that=seen.words == wanted, words=f"{len(seen.words)} of {len(wanted)} words, or mixed")


@check
def much_output_is_counted_to_the_byte(engine: Engine, bench: Bench) -> None:
    """Nothing is lost and nobody waits for ever, however much is printed."""
    seen = expect_pass(engine, bench.shell(f"head -c {_MUCH} /dev/zero"), "it could not print")
    expect(that=seen.size == _MUCH, words=f"{seen.size} bytes of {_MUCH}")


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
