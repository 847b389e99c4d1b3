"""The sequence of a job: the collected evidence, its order, and its independence of the verdict."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path, PurePosixPath
from typing import overload

import pytest

from isosmoke.errors import EngineError, LeftBehindError
from isosmoke.interrupt import Interrupt
from isosmoke.keeper.events import Survivor
from isosmoke.keeper.input_forwarding import Streams
from isosmoke.keeper.protocol import Size, StreamPlan
from isosmoke.redaction import Redactor
from isosmoke.results.outcome import Broke, Ending, Exited, Stopped
from isosmoke.runner import sandbox_run
from isosmoke.runner.evidence.tmux import LINES
from isosmoke.runner.output import Capture
from isosmoke.runner.sandbox_run import SandboxRun, WantsEvidence, run_job
from isosmoke.sandbox.spec import Fresh, Job, ResourceLimits, SandboxSpec
from isosmoke.sandbox.survivors import Process, Usage
from isosmoke.testing import Act, FakeEngine, survivor
from isosmoke.testing.fake import FakeSandbox

HOME = PurePosixPath("/home/me")
USAGE = Usage(1.5, 0.25, 4096)

LISTENING = (
    b"Num RefCount Protocol Flags Type St Inode Path\n"
    b"0: 00000002 00000000 00010000 0001 01 42 /run/tmux\n"
)
TMUX = survivor(7, ["tmux"], sockets=["42"])
SLEEPER = survivor(8, ["sleep", "600"])

_TMUX_COMMAND = ("/usr/bin/tmux", "-u", "-S", "/run/tmux")
_FORMAT = "#{pane_id} #{pane_pid} #{session_name}:#{window_index}.#{pane_index}"
PROBES = {
    (*_TMUX_COMMAND, "list-panes", "-a", "-F", _FORMAT): (0, b"%0 9 main:0.0\n"),
    (*_TMUX_COMMAND, "capture-pane", "-p", "-J", "-S", f"-{LINES}", "-t", "%0"): (0, b"$ wg\n"),
}

NO_LIMITS = ResourceLimits()


def _always(_ending: Ending, _survivors: tuple[Process, ...]) -> bool:
    return True


def _run(
    engine: FakeEngine,
    *,
    wants_evidence: WantsEvidence = _always,
    interrupt: Interrupt | None = None,
    limits: ResourceLimits = NO_LIMITS,
    streams: Streams | None = None,
) -> SandboxRun:
    spec = SandboxSpec(
        label="one",
        image="host",
        mounts=(Fresh(HOME, 0o700, on_disk=True),),
        uid=0,
        gid=0,
        network="host",
        limits=limits,
    )
    job = Job(
        spec=spec,
        argv=("true",),
        folder=PurePosixPath("/"),
        environment={},
        timeout=0.01,
        grace=0.01,
        settle=0.01,
    )
    with Capture(None, 0, redactor=Redactor()) as capture:
        return run_job(
            job,
            engine,
            capture=capture,
            interrupt=interrupt or Interrupt(),
            wants_evidence=wants_evidence,
            streams=streams,
        )


def _commands(engine: FakeEngine) -> str:
    return b"".join(kind for _, kind in engine.commands).decode()


class _InterruptingStreams:
    """Streams of a user who typed the key that interrupts the command."""

    plan = StreamPlan()
    keyboard = None
    has_interrupted = True

    @property
    def resizes(self) -> int:
        raise NotImplementedError

    def typed(self, limit: int, /) -> bytes:
        raise NotImplementedError

    def read_size(self) -> Size:
        raise NotImplementedError

    def take_broken(self) -> tuple[()]:
        return ()

    def attached(self) -> AbstractContextManager[None]:
        return nullcontext()


@pytest.mark.parametrize(
    ("status", "ending"),
    [
        (signal.SIGINT, Stopped("SIGINT")),
        ((128 + signal.SIGINT) << 8, Stopped("SIGINT")),
        (3 << 8, Exited(3)),
    ],
)
def test_key_that_ends_a_command_ends_the_run(status: int, ending: Ending) -> None:
    """A command that Ctrl-C ended is no failure, even if no process is left in its sandbox."""
    interrupt = Interrupt()
    run = _run(
        FakeEngine({"one": Act(status=status)}), interrupt=interrupt, streams=_InterruptingStreams()
    )

    assert run.ending == ending
    assert interrupt.is_raised == isinstance(ending, Stopped)


@pytest.mark.parametrize(
    ("reason", "ending"),
    [("SIGINT", Stopped("SIGINT")), ("", Broke("bwrap was killed by SIGINT"))],
)
def test_interrupted_creation_of_a_sandbox_is_no_error(reason: str, ending: Ending) -> None:
    """A key that ends a program of the engine ends the run, and is no fault of the engine."""
    interrupt = Interrupt()
    if reason:
        interrupt.raise_for(reason)
    engine = FakeEngine({"one": Act(refuses="bwrap was killed by SIGINT")})

    assert _run(engine, interrupt=interrupt).ending == ending


def test_all_evidence_is_collected(tmp_path: Path) -> None:
    """Panes are read before the freeze, the rest after the list, and all before the end."""
    (tmp_path / "note").write_text("seen")
    act = Act(
        status=1 << 8,
        survivors=[TMUX, SLEEPER],
        sockets={"unix": LISTENING},
        probes=PROBES,
        usage=USAGE,
        changes={HOME: tmp_path},
        peaks={"memory": 1 << 20},
    )
    engine = FakeEngine({"one": act})
    run = _run(engine)
    evidence = run.evidence

    assert evidence is not None
    assert [(change.path, change.text) for change in evidence.changes] == [(f"{HOME}/note", "seen")]
    assert [(pane.name, pane.lines) for pane in evidence.panes] == [("main:0.0", ("$ wg",))]
    assert (evidence.usage, evidence.peaks) == (USAGE, {"memory": 1 << 20})
    assert evidence.missing == ()
    assert _commands(engine) == "glpplflu"
    assert list(run.phases) == [
        *("create", "start", "run", "settle", "list", "panes", "collect", "destroy")
    ]
    assert run.ending == Exited(1)
    assert len(run.survivors) == 2


@pytest.mark.parametrize(
    ("status", "texts"),
    [
        (
            9,
            ("the limit of 64 MiB memory was reached", "the limit of 9 processes was reached"),
        ),
        (0, ()),
    ],
)
def test_reached_limits_of_a_failure_are_described(status: int, texts: tuple[str, ...]) -> None:
    """Each limit that a failed script reached is described; a pass needs no explanation."""
    limits = ResourceLimits(memory=64 << 20, processes=9)
    act = Act(status=status, reached_limits=frozenset({"memory", "processes"}))

    assert _run(FakeEngine({"one": act}), limits=limits).reached_limits == texts


def test_unwanted_evidence_is_not_collected() -> None:
    """Without evidence there is neither a probe nor a search for changes."""
    act = Act(survivors=[TMUX], sockets={"unix": LISTENING}, probes=PROBES)
    engine = FakeEngine({"one": act})
    run = _run(engine, wants_evidence=lambda *_: False)

    assert run.evidence is None
    assert "p" not in _commands(engine)
    assert "collect" not in run.phases


def test_decision_about_evidence_has_ending_and_survivors() -> None:
    """The decision is based on the ending of the script and its survivors."""
    calls: list[tuple[Ending, list[int]]] = []

    def wants_evidence(ending: Ending, survivors: tuple[Process, ...]) -> bool:
        calls.append((ending, [survivor.pid for survivor in survivors]))
        return False

    _run(
        FakeEngine({"one": Act(status=3 << 8, survivors=[SLEEPER])}), wants_evidence=wants_evidence
    )

    assert calls == [(Exited(3), [8])]


@pytest.mark.parametrize("status", [0, 1 << 8, 77 << 8, 9, None])
def test_empty_list_of_nonempty_sandbox_is_an_error(
    monkeypatch: pytest.MonkeyPatch, status: int | None
) -> None:
    """A keeper that lists no process and does not report an empty sandbox proves nothing."""
    monkeypatch.setattr(sandbox_run, "EMPTY_SECONDS", 0.01)
    act = Act(status=status, survivors=[SLEEPER], is_blind=True)
    run = _run(FakeEngine({"one": act}))

    assert run.ending == Broke("the sandbox is not empty, but no process was listed")
    assert run.survivors == ()


@pytest.mark.parametrize("command", [b"l", b"f"])
def test_sandbox_that_becomes_empty_during_list_is_empty(command: bytes) -> None:
    """If the last process ends between the list and the freeze, there are no survivors."""
    act = Act(survivors=[SLEEPER], end_at=command)
    run = _run(FakeEngine({"one": act}), wants_evidence=lambda *_: False)

    assert run.ending == Exited(0)
    assert run.survivors == ()


class _ShrinkingSurvivors(Sequence[Survivor]):
    """Survivors of which the last one ends after the first list."""

    def __init__(self, *survivors: Survivor) -> None:
        self._survivors = list(survivors)
        self._was_listed = False

    def __iter__(self) -> Iterator[Survivor]:
        listed = self._survivors[:-1] if self._was_listed else self._survivors
        self._was_listed = True
        return iter(listed)

    def __len__(self) -> int:
        return len(self._survivors)

    @overload
    def __getitem__(self, index: int) -> Survivor: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Survivor]: ...
    def __getitem__(self, index: int | slice) -> Survivor | Sequence[Survivor]:
        return self._survivors[index]


def test_process_that_ends_during_panes_is_a_survivor() -> None:
    """A process that ends while evidence is collected is a survivor, as without evidence."""
    act = Act(
        survivors=_ShrinkingSurvivors(TMUX, SLEEPER), sockets={"unix": LISTENING}, probes=PROBES
    )

    assert {survivor.pid for survivor in _run(FakeEngine({"one": act})).survivors} == {7, 8}


BROKEN: dict[str, tuple[Act, str]] = {
    "keeper": (Act(dies_at=b"u"), "resource usage: the sandbox ended before the scenario did"),
    "terminal": (
        Act(survivors=[TMUX], sockets={"unix": LISTENING}),
        "the panes of tmux at /run/tmux: cannot start the probe: the act does not define it",
    ),
    "directory": (
        Act(changes={HOME: Path("/nowhere")}),
        f"{HOME}: No such file or directory",
    ),
    "no directory": (Act(), f"{HOME}: its changes were not stored on disk"),
}


@pytest.mark.parametrize(("act", "complaint"), BROKEN.values(), ids=BROKEN)
def test_incomplete_evidence_changes_no_verdict(act: Act, complaint: str) -> None:
    """The ending is that of the script, and the evidence reports what is missing and why."""
    run = _run(FakeEngine({"one": act}))

    assert run.ending == Exited(0)
    assert run.evidence is not None
    assert complaint in run.evidence.missing


def test_interrupt_during_collection_changes_no_verdict(tmp_path: Path) -> None:
    """A verdict from before an interrupt is final."""
    interrupt = Interrupt()

    def wants_evidence(_ending: Ending, _survivors: tuple[Process, ...]) -> bool:
        interrupt.raise_for("SIGINT")
        return True

    act = Act(status=1 << 8, changes={HOME: tmp_path})
    run = _run(FakeEngine({"one": act}), wants_evidence=wants_evidence, interrupt=interrupt)

    assert run.ending == Exited(1)
    assert run.evidence is not None
    assert run.evidence.missing == ("resource usage: SIGINT",)


def test_broken_sandbox_has_evidence(tmp_path: Path) -> None:
    """Changes from before the sandbox broke are evidence; its keeper gets no further requests."""
    (tmp_path / "core").write_text("why")
    engine = FakeEngine({"one": Act(dies_at=b"g", changes={HOME: tmp_path})})
    run = _run(engine)

    assert run.evidence is not None
    assert [change.path for change in run.evidence.changes] == [f"{HOME}/core"]
    assert "u" not in _commands(engine)


def test_interrupt_is_ending_of_unfinished_script() -> None:
    """An interrupt before the script ended is passed to the decision about evidence."""
    interrupt, calls = Interrupt(), []

    def wants_evidence(ending: Ending, _survivors: tuple[Process, ...]) -> bool:
        calls.append(ending)
        return False

    act = Act(status=None, on_go=lambda: interrupt.raise_for("SIGINT"))
    run = _run(FakeEngine({"one": act}), wants_evidence=wants_evidence, interrupt=interrupt)

    assert calls == [run.ending] == [Stopped("SIGINT")]


REMAINS = "box could not be removed"


@pytest.mark.parametrize(
    ("act", "ending"),
    [
        (Act(leaves=REMAINS), Exited(0)),
        (Act(leaves=REMAINS, status=3 << 8), Exited(3)),
        (Act(leaves=REMAINS, broken="no bash"), Broke("the sandbox could not continue: no bash")),
        (Act(leaves=REMAINS, dies_at=b"g"), Broke("the sandbox ended before the scenario did")),
    ],
)
def test_cleanup_failure_changes_no_ending(act: Act, ending: Ending) -> None:
    """It is reported in addition to the ending, with the command that removes the remains."""
    run = _run(FakeEngine({"one": act}))

    assert run.ending == ending
    assert run.cleanup_failures == (f"{REMAINS} (remove it: remove {REMAINS})",)


class _FailingCreation(FakeEngine):
    """An engine whose sandboxes break during creation, and leave remains."""

    @contextmanager
    def sandbox(self, spec: SandboxSpec) -> Iterator[FakeSandbox]:
        try:
            with super().sandbox(spec):
                raise EngineError("no room", hint="make room")
        finally:
            raise LeftBehindError(REMAINS)


def test_cleanup_failure_is_reported_with_failed_creation() -> None:
    """The ending is the first error, and the remains are reported in addition."""
    run = _run(_FailingCreation())

    assert run.ending == Broke("no room (try: make room)")
    assert run.cleanup_failures == (REMAINS,)
