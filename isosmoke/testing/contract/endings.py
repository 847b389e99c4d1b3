"""Checks of a script's ending, deadline and output."""

from isosmoke.engines.base import Engine
from isosmoke.results.outcome import Broke, Exited, Signaled, TimedOut
from isosmoke.testing.bench import Bench, JobOptions, run
from isosmoke.testing.contract.checks import (
    PROMPT_SECONDS,
    check,
    expect,
    expect_ending,
    expect_pass,
)

_LARGE_BYTES = 20_000_000


@check
def endings_are_distinguished(engine: Engine, bench: Bench) -> None:
    """Check that an exit code is never mistaken for a signal of the same number."""
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
    """Check that a program that cannot be started is an engine error that names it."""
    ending = run(engine, bench.job(("no-such-program",))).ending
    is_named = isinstance(ending, Broke) and "no-such-program" in ending.message
    expect(that=is_named, message=f"a missing program ended as {ending}")


@check
def binary_output_is_untouched(engine: Engine, bench: Bench) -> None:
    """Check that every byte arrives unchanged, including zero, escape and invalid UTF-8."""
    code = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 8)"
    result = expect_pass(engine, bench.python(code), "python3 cannot be run")
    expect(that=result.output == bytes(range(256)) * 8, message="the output was changed in transit")


@check
def a_stream_keeps_its_order(engine: Engine, bench: Bench) -> None:
    """Check that all lines of one stream arrive in order, also without a final newline."""
    result = expect_pass(engine, bench.shell("seq 2000; printf end"), "seq cannot be run")
    expected = [*(str(number) for number in range(1, 2001)), "end"]
    expect(
        that=result.words == expected,
        message=f"{len(result.words)} of {len(expected)} words arrived, or out of order",
    )


@check
def much_output_is_counted_to_the_byte(engine: Engine, bench: Bench) -> None:
    """Check that no byte of a large output is lost, and the script never blocks."""
    result = expect_pass(
        engine, bench.shell(f"head -c {_LARGE_BYTES} /dev/zero"), "printing failed"
    )
    expect(
        that=result.size == _LARGE_BYTES, message=f"{result.size} of {_LARGE_BYTES} bytes arrived"
    )


@check
def a_deadline_terminates_a_script(engine: Engine, bench: Bench) -> None:
    """Check that a script gets SIGTERM at its deadline and is not killed if it ends then."""
    line = "trap 'echo terminated; exit 0' TERM; echo up; while :; do read -t 60 <> <(:); done"
    result = run(engine, bench.shell(line, JobOptions(timeout=0.5, grace=60)))
    expect_ending(result, TimedOut(0.5), "a deadline")
    expect(that=result.words == ["up", "terminated"], message=f"it got no SIGTERM: {result.words}")
    expect(that=result.phases["run"] < PROMPT_SECONDS, message="the run outlasted the script")


@check
def a_deadline_kills_a_script_that_ignores_it(engine: Engine, bench: Bench) -> None:
    """Check that a script that ignores SIGTERM is killed after the grace time."""
    result = run(engine, bench.shell("trap '' TERM; sleep 600", JobOptions(timeout=0.5, grace=0.5)))
    expect_ending(result, TimedOut(0.5), "a deadline")
    expect(
        that=1 <= result.phases["run"] < PROMPT_SECONDS, message="SIGKILL came at the wrong time"
    )


@check
def a_process_that_ends_in_time_is_no_survivor(engine: Engine, bench: Bench) -> None:
    """Check that a process may end within the settle time, and the wait ends with it."""
    job = bench.shell("sleep 0.3 & exit 0", JobOptions(settle=600))
    result = expect_pass(engine, job, "a process that ended in time was listed")
    expect(that=result.phases["settle"] < PROMPT_SECONDS, message="the wait outlasted the process")
