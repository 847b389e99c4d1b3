"""The end of a sandbox, and sandboxes beside each other."""

import subprocess

from isosmoke.engines.base import Engine
from isosmoke.errors import EngineError
from isosmoke.keeper.protocol import frame
from isosmoke.sandbox.spec import Job
from isosmoke.testing.bench import Bench, Line, Witness, going, holder, run
from isosmoke.testing.contract.checks import DEATH_SECONDS, check, expect, expect_pass
from isosmoke.testing.contract.contents import (
    a_fresh_sandbox_has_only_its_script,
    each_sandbox_is_fresh,
)


@check
def nothing_survives_the_end(engine: Engine, bench: Bench) -> None:
    """What a script left is gone the moment its sandbox was left."""
    with Witness() as witness:
        run(engine, bench.shell(f"{witness.connect} setsid sleep 600 & exit 0"))
        line = witness.met()
        expect(that=line.breaks(), words="a process outlived its sandbox")


class _DeliberateError(Exception):
    """Raised in the middle of a sandbox, with the line to it."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self.line = line


def _fail_inside(engine: Engine, job: Job, witness: Witness) -> None:
    with going(engine, job):
        raise _DeliberateError(witness.met())


@check
def an_exception_ends_the_sandbox(engine: Engine, bench: Bench) -> None:
    """However the block is left, its sandbox is destroyed."""
    with Witness() as witness:
        job = bench.shell(f"{witness.connect} sleep 600")
        try:
            _fail_inside(engine, job, witness)
        except _DeliberateError as error:
            expect(that=error.line.breaks(), words="a process outlived the exception")


@check
def leaving_after_the_keeper_died_is_harmless(engine: Engine, bench: Bench) -> None:
    """A keeper that is gone is told as an `EngineError`, and leaving its sandbox raises no more."""
    with Witness() as witness, going(engine, bench.shell(f"{witness.connect} sleep 600")) as keeper:
        line = witness.met()
        keeper._channel.write(frame(b"?", b""))  # noqa: SLF001 - what no keeper understands
        try:
            keeper.exited(DEATH_SECONDS)
        except EngineError:
            expect(that=line.breaks(), words="the sandbox outlived its keeper")
            return
        raise AssertionError("a keeper that is gone was not told")


@check
def sandboxes_stand_side_by_side(engine: Engine, bench: Bench) -> None:
    """Two at a time know nothing of each other, and one may end before the other."""
    with Witness() as witness, going(engine, bench.shell(f"{witness.connect} cat <&3")) as first:
        witness.met()
        each_sandbox_is_fresh(engine, bench)
        a_fresh_sandbox_has_only_its_script(engine, bench)
        expect(that=first.exited(0.1) is None, words="the end of one sandbox ended another")


@check
def a_sandbox_cannot_signal_another(engine: Engine, bench: Bench) -> None:
    """Whoever kills all that can be seen hits nothing of a sandbox beside it."""
    with Witness() as witness, going(engine, bench.shell(f"{witness.connect} cat <&3")) as first:
        witness.met()
        run(engine, bench.shell("kill -9 -1; exit 0"))
        expect(that=first.exited(0.1) is None, words="one sandbox killed in another")


@check
def a_dead_run_is_swept_and_a_live_one_spared(engine: Engine, bench: Bench) -> None:
    """Killing a run ends its sandboxes; a sweep removes what is left of it and nothing else."""
    with Witness() as witness, going(engine, bench.shell(f"{witness.connect} sleep 600")) as live:
        witness.met()
        _die_holding(engine, bench, witness)
        removed = engine.sweep()
        expect(that=removed, words="a killed run left nothing to sweep, or it was not found")
        again = set(removed) & set(engine.sweep())
        expect(that=not again, words=f"a sweep did not remove {sorted(again)}")
        expect(that=live.exited(0.1) is None, words="a sweep ended a live sandbox")
        expect_pass(engine, bench.shell(":"), "after a sweep no sandbox can be made")


def _die_holding(engine: Engine, bench: Bench, witness: Witness) -> None:
    """Kill a process that holds a sandbox, and see that the sandbox ends with it."""
    command = holder(engine, bench, f"{witness.connect} sleep 600")
    with subprocess.Popen(command) as process:
        line = witness.met()
        process.kill()
    expect(that=line.breaks(), words="a sandbox outlived the run that made it by more than 5 s")
