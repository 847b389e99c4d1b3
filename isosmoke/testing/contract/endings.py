"""The ending and the output of a script."""

from isosmoke.engines.base import Engine
from isosmoke.results.outcome import Broke, Exited, Signaled
from isosmoke.testing.bench import Bench, run
from isosmoke.testing.contract.checks import check, expect, expect_ending, expect_pass

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
