"""Checks of a sandbox's end, and of concurrent sandboxes."""

import subprocess

from isosmoke.engines.base import Engine
from isosmoke.errors import EngineError
from isosmoke.keeper.protocol import encode_frame
from isosmoke.sandbox.spec import Job
from isosmoke.testing.bench import (
    Bench,
    SandboxConnection,
    Witness,
    build_holder_command,
    run,
    running_job,
)
from isosmoke.testing.contract.checks import DEATH_SECONDS, check, expect, expect_pass
from isosmoke.testing.contract.contents import (
    a_fresh_sandbox_has_only_its_script,
    each_sandbox_is_fresh,
)


@check
def nothing_survives_the_end(engine: Engine, bench: Bench) -> None:
    """Check that every process of a script is gone once its sandbox has ended."""
    with Witness() as witness:
        run(engine, bench.shell(f"{witness.connect} setsid sleep 600 & exit 0"))
        connection = witness.accept()
        expect(that=connection.wait_closed(), message="a process outlived its sandbox")


class _DeliberateError(Exception):
    """An exception raised inside a sandbox, with the connection to it."""

    def __init__(self, connection: SandboxConnection) -> None:
        super().__init__()
        self.connection = connection


def _fail_inside(engine: Engine, job: Job, witness: Witness) -> None:
    with running_job(engine, job):
        raise _DeliberateError(witness.accept())


@check
def an_exception_ends_the_sandbox(engine: Engine, bench: Bench) -> None:
    """Check that a sandbox is destroyed however its block is left."""
    with Witness() as witness:
        job = bench.shell(f"{witness.connect} sleep 600")
        try:
            _fail_inside(engine, job, witness)
        except _DeliberateError as error:
            expect(that=error.connection.wait_closed(), message="a process outlived the exception")


@check
def leaving_after_the_keeper_died_is_harmless(engine: Engine, bench: Bench) -> None:
    """Check that a dead keeper is an `EngineError`, and that its sandbox then closes."""
    with (
        Witness() as witness,
        running_job(engine, bench.shell(f"{witness.connect} sleep 600")) as keeper,
    ):
        connection = witness.accept()
        keeper._channel.write(encode_frame(b"?", b""))  # noqa: SLF001 - an unknown command
        try:
            keeper.wait_for_exit(DEATH_SECONDS)
        except EngineError:
            expect(that=connection.wait_closed(), message="the sandbox outlived its keeper")
            return
        raise AssertionError("a dead keeper was not reported")


@check
def concurrent_sandboxes_are_independent(engine: Engine, bench: Bench) -> None:
    """Check that two concurrent sandboxes do not see each other, and either may end first."""
    with (
        Witness() as witness,
        running_job(engine, bench.shell(f"{witness.connect} cat <&3")) as first,
    ):
        witness.accept()
        each_sandbox_is_fresh(engine, bench)
        a_fresh_sandbox_has_only_its_script(engine, bench)
        expect(
            that=first.wait_for_exit(0.1) is None, message="the end of one sandbox ended another"
        )


@check
def a_sandbox_cannot_signal_another(engine: Engine, bench: Bench) -> None:
    """Check that a script that kills every visible process affects no concurrent sandbox."""
    with (
        Witness() as witness,
        running_job(engine, bench.shell(f"{witness.connect} cat <&3")) as first,
    ):
        witness.accept()
        run(engine, bench.shell("kill -9 -1; exit 0"))
        expect(
            that=first.wait_for_exit(0.1) is None, message="a sandbox killed a process of another"
        )


@check
def a_sweep_removes_only_dead_runs(engine: Engine, bench: Bench) -> None:
    """Check that a killed run's sandboxes end, and that a sweep removes only their remains."""
    with (
        Witness() as witness,
        running_job(engine, bench.shell(f"{witness.connect} sleep 600")) as live,
    ):
        witness.accept()
        _kill_holder(engine, bench, witness)
        removed = engine.sweep()
        expect(that=removed, message="a sweep found no remains of a killed run")
        again = set(removed) & set(engine.sweep())
        expect(that=not again, message=f"a sweep did not remove {sorted(again)}")
        expect(that=live.wait_for_exit(0.1) is None, message="a sweep ended a live sandbox")
        expect_pass(engine, bench.shell(":"), "no sandbox can be created after a sweep")


def _kill_holder(engine: Engine, bench: Bench, witness: Witness) -> None:
    """Kill a process that holds a sandbox, and verify that the sandbox ends with it."""
    command = build_holder_command(engine, bench, f"{witness.connect} sleep 600")
    with subprocess.Popen(command) as process:
        connection = witness.accept()
        process.kill()
    expect(that=connection.wait_closed(), message="a sandbox outlived its killed run")
