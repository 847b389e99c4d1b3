"""The fake engine: the runner over it produces every ending, without a process."""

from functools import partial
from pathlib import Path, PurePosixPath
from threading import Barrier

import pytest

from isosmoke.engines.base import Engine
from isosmoke.errors import EngineUnavailableError
from isosmoke.execution.attempt import AttemptRunner
from isosmoke.execution.requirements import Requirements
from isosmoke.execution.scheduler import Policy, Scheduler
from isosmoke.host.caller_process import Caller
from isosmoke.host.workspace_directories import Workspace
from isosmoke.interrupt import Interrupt
from isosmoke.keeper import protocol
from isosmoke.keeper.client import Conversation
from isosmoke.keeper.events import Output
from isosmoke.keeper.exchange import RefusedError
from isosmoke.manifest.parser import parse
from isosmoke.redaction import Redactor
from isosmoke.results.outcome import Broke, Ending, Exited, Signaled, Stopped, TimedOut
from isosmoke.results.run_results import ScenarioResult
from isosmoke.runner.job_builder import RunContext
from isosmoke.runner.output import Capture
from isosmoke.runner.sandbox_run import SandboxRun, run_job
from isosmoke.sandbox.spec import Job, SandboxSpec
from isosmoke.sandbox.survivors import Usage
from isosmoke.testing import Act, FakeEngine, survivor

SLEEPER = survivor(7, ["sleep", "600"], age=3.5)

ENDINGS: list[tuple[Act, Ending]] = [
    (Act(), Exited(0)),
    (Act(status=143 << 8), Exited(143)),
    (Act(status=15), Signaled(15)),
    (Act(status=None), TimedOut(0.01)),
    (Act(status=None, ignores_term=True), TimedOut(0.01)),
    (Act(refuses="no room"), Broke("no room")),
    (Act(broken="bash: not found"), Broke("the sandbox could not continue: bash: not found")),
    (Act(dies_at=b"g"), Broke("the sandbox ended before the scenario did")),
    (
        Act(survivors=[SLEEPER], can_be_frozen=False),
        Broke("leftover processes of the scenario could not be stopped: pid 7: sleep 600 in /"),
    ),
]


def _build_job() -> Job:
    spec = SandboxSpec(label="one", image="host", mounts=(), uid=0, gid=0, network="host")
    return Job(
        spec=spec,
        argv=("true",),
        folder=PurePosixPath("/"),
        environment={},
        timeout=0.01,
        grace=0.01,
        settle=0.01,
    )


def _run_job(engine: Engine, interrupt: Interrupt) -> tuple[SandboxRun, bytes]:
    with Capture(None, 0, redactor=Redactor()) as capture:
        run = run_job(_build_job(), engine, capture=capture, interrupt=interrupt)
    return run, capture.output.head


@pytest.mark.parametrize(("act", "ending"), ENDINGS, ids=lambda value: str(value)[:60])
def test_act_determines_ending(act: Act, ending: Ending) -> None:
    """An act determines the ending, and the sandbox is destroyed."""
    engine = FakeEngine({"one": act})
    assert _run_job(engine, Interrupt())[0].ending == ending
    assert len(engine.destroyed) == (0 if act.refuses else 1)


def test_keeper_of_other_version_breaks_run() -> None:
    """A keeper of another version is an engine error with a hint to rebuild."""
    ending = _run_job(FakeEngine({"one": Act(version="0")}), Interrupt())[0].ending
    versions = f"protocol version 0, but isosmoke has version {protocol.VERSION}"
    assert ending == Broke(f"the keeper has {versions} (try: build isosmoke again)")


def test_survivor_has_its_listeners() -> None:
    """A survivor has its arguments, its age, and the address of its socket."""
    table = b"  sl  local rem st\n 0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 0 0 4242 1\n"
    server = survivor(9, ["server", "--port"], ppid=7, age=2.0, sockets=["4242"])
    act = Act(survivors=[server], sockets={"tcp": table})
    (process,) = _run_job(FakeEngine({"one": act}), Interrupt())[0].survivors
    assert process.argv == ("server", "--port")
    assert (process.pid, process.ppid, process.age_seconds) == (9, 7, 2.0)
    assert process.listens == ("tcp 127.0.0.1:8080",)


def test_output_is_captured_and_commands_are_recorded() -> None:
    """The capture gets both streams, and the engine records the keeper's commands."""
    act = Act(output=[Output("stdout", b"a"), Output("stderr", b"b")], survivors=[SLEEPER])
    engine = FakeEngine({"one": act})
    assert _run_job(engine, Interrupt())[1] == b"ab"
    assert [kind for _, kind in engine.commands] == [b"g", b"l", b"l", b"f", b"l"]


def test_interrupt_stops_run() -> None:
    """An interrupt ends the run, and the sandbox is destroyed."""
    interrupt = Interrupt()
    act = Act(status=None, on_go=lambda: interrupt.raise_for("SIGINT"))
    engine = FakeEngine({"one": act})
    assert _run_job(engine, interrupt)[0].ending == Stopped("SIGINT")
    assert len(engine.destroyed) == 1


def test_unavailable_engine_raises() -> None:
    """`preflight` raises the error that a test defined."""
    with pytest.raises(EngineUnavailableError, match="not today"):
        FakeEngine(unavailable="not today").preflight()


def _run_schedule(engine: Engine, directory: Path, names: list[str]) -> list[ScenarioResult]:
    """Run the scenarios of these names, two at a time."""
    entries = [f'[[scenario]]\nname = "{name}"\nscript = "x"\n' for name in names]
    caller = Caller(uid=0, gid=0, user="u", home=directory, working=directory, environment={})
    interrupt = Interrupt()
    attempts = AttemptRunner(
        engine_for=lambda _: engine,
        context=RunContext(caller, Workspace((), (), directory), None),
        requirements=Requirements({}, has_binary=False),
        record=directory,
        interrupt=interrupt,
    )
    scheduler = Scheduler(
        scenarios=parse("".join(entries), directory / "manifest.toml").scenarios,
        attempts=attempts,
        policy=Policy(jobs=2, confirm="always"),
        notify=lambda _: None,
        interrupt=interrupt,
    )
    return list(scheduler.run())


def test_schedule_runs_scenarios_concurrently(tmp_path: Path) -> None:
    """Two jobs run two scenarios at the same time, or the barrier would break."""
    barrier = Barrier(2, timeout=60)
    meeting = Act(on_go=barrier.wait)
    results = _run_schedule(FakeEngine({"a": meeting, "b": meeting}), tmp_path, ["a", "b"])
    assert [str(result.outcome) for result in results] == ["PASS", "PASS"]


def test_failure_under_load_is_flaky(tmp_path: Path) -> None:
    """A scenario that fails concurrently and passes in isolation is FLAKY and load-sensitive."""
    barrier = Barrier(2, timeout=60)
    shaky = [Act(status=1 << 8, on_go=barrier.wait), Act()]
    engine = FakeEngine({"a": shaky, "b": Act(on_go=barrier.wait)})
    results = _run_schedule(engine, tmp_path, ["a", "b"])
    assert [str(result.outcome) for result in results] == ["FLAKY", "PASS"]
    assert results[0].load_sensitive


def test_fake_sandbox_has_usage_and_probes() -> None:
    """A fake sandbox has a usage, and answers, ends or refuses a probe as its act defines."""
    probes: dict[tuple[str, ...], tuple[int | None, bytes]] = {
        ("tmux", "ls"): (256, b"no server"),
        ("sleep", "9"): (None, b"started"),
    }
    act = Act(usage=Usage(1.5, 0.5, 4096), probes=probes)
    with FakeEngine({"one": act}).sandbox(_build_job().spec) as sandbox:
        keeper = Conversation(sandbox.channel, sink=print, interrupt=Interrupt())
        probe = partial(keeper.probe, folder=PurePosixPath("/"), environment={}, seconds=0.05)

        assert keeper.read_usage() == Usage(1.5, 0.5, 4096)
        assert probe(("tmux", "ls")) == (256, b"no server")
        assert probe(("sleep", "9")) == (None, b"started")
        with pytest.raises(RefusedError, match="the act does not define it"):
            probe(("tmux",))
        keeper.thaw()
