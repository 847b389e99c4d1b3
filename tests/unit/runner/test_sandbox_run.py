"""The order of a job: what is collected, when, and that no verdict changes by it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import overload

import pytest

from isosmoke.errors import EngineError, LeftBehindError
from isosmoke.interrupt import Interrupt
from isosmoke.keeper.protocol import Survivor
from isosmoke.redaction import Redactor
from isosmoke.results.outcome import Broke, Ending, Exited, Stopped
from isosmoke.runner import sandbox_run
from isosmoke.runner.output import Capture
from isosmoke.runner.sandbox_run import SandboxRun, WantsEvidence, run_job
from isosmoke.runner.tmux import LINES
from isosmoke.sandbox.processes import Process, Usage
from isosmoke.sandbox.spec import Fresh, Job, SandboxSpec
from isosmoke.testing import Act, FakeEngine, survivor
from isosmoke.testing.fake import FakeSandbox

HOME = PurePosixPath("/home/me")
USED = Usage(1.5, 0.25, 4096)

LISTENING = (
    b"Num RefCount Protocol Flags Type St Inode Path\n"
    b"0: 00000002 00000000 00010000 0001 01 42 /run/tmux\n"
)
TMUX = survivor(7, ["tmux"], sockets=["42"])
SLEEPER = survivor(8, ["sleep", "600"])

_ASK = ("/usr/bin/tmux", "-u", "-S", "/run/tmux")
_FORMAT = "#{pane_id} #{pane_pid} #{session_name}:#{window_index}.#{pane_index}"
PROBES = {
    (*_ASK, "list-panes", "-a", "-F", _FORMAT): (0, b"%0 9 main:0.0\n"),
    (*_ASK, "capture-pane", "-p", "-J", "-S", f"-{LINES}", "-t", "%0"): (0, b"$ wg\n"),
}


def _always(_ending: Ending, _survivors: tuple[Process, ...]) -> bool:
    return True


def _run(
    engine: FakeEngine,
    *,
    wants_evidence: WantsEvidence = _always,
    interrupt: Interrupt | None = None,
) -> SandboxRun:
    spec = SandboxSpec(
        label="one",
        image="host",
        mounts=(Fresh(HOME, 0o700, on_disk=True),),
        uid=0,
        gid=0,
        network="host",
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
        )


def _commands(engine: FakeEngine) -> str:
    return b"".join(kind for _, kind in engine.commands).decode()


def test_all_that_is_there_is_collected(tmp_path: Path) -> None:
    """Terminals before the freeze, the rest after the list, and all of it before the end."""
    (tmp_path / "note").write_text("seen")
    act = Act(
        status=1 << 8,
        survivors=[TMUX, SLEEPER],
        sockets={"unix": LISTENING},
        probes=PROBES,
        usage=USED,
        changes={HOME: tmp_path},
        peaks={"memory": 1 << 20},
    )
    engine = FakeEngine({"one": act})
    run = _run(engine)
    evidence = run.evidence

    assert evidence is not None
    assert [(one.path, one.text) for one in evidence.changes] == [(f"{HOME}/note", "seen")]
    assert [(one.name, one.lines) for one in evidence.panes] == [("main:0.0", ("$ wg",))]
    assert (evidence.usage, evidence.peaks) == (USED, {"memory": 1 << 20})
    assert evidence.missing == ()
    assert _commands(engine) == "glpplflu"
    assert list(run.phases) == [
        *("create", "start", "run", "settle", "list", "panes", "collect", "destroy")
    ]
    assert run.ending == Exited(1)
    assert len(run.survivors) == 2


def test_nothing_is_asked_where_nothing_is_wanted() -> None:
    """Without evidence there is neither a probe nor a look at what changed."""
    act = Act(survivors=[TMUX], sockets={"unix": LISTENING}, probes=PROBES)
    engine = FakeEngine({"one": act})
    run = _run(engine, wants_evidence=lambda *_: False)

    assert run.evidence is None
    assert "p" not in _commands(engine)
    assert "collect" not in run.phases


def test_whether_it_is_wanted_is_asked_of_ending_and_survivors() -> None:
    """Who decides knows how the script ended and which processes it left."""
    asked: list[tuple[Ending, list[int]]] = []

    def wants_evidence(ending: Ending, survivors: tuple[Process, ...]) -> bool:
        asked.append((ending, [one.pid for one in survivors]))
        return False

    _run(
        FakeEngine({"one": Act(status=3 << 8, survivors=[SLEEPER])}), wants_evidence=wants_evidence
    )

    assert asked == [(Exited(3), [8])]


@pytest.mark.parametrize("status", [0, 1 << 8, 77 << 8, 9, None])
def test_nobody_listed_in_a_sandbox_that_is_not_empty_is_a_broken_sandbox(
    monkeypatch: pytest.MonkeyPatch, status: int | None
) -> None:
    """A keeper that sees nobody, and does not say that all have ended, proves nothing."""
    monkeypatch.setattr(sandbox_run, "EMPTY_SECONDS", 0.01)
    act = Act(status=status, survivors=[SLEEPER], is_blind=True)
    run = _run(FakeEngine({"one": act}))

    assert run.ending == Broke("the sandbox is not empty, but no process was listed")
    assert run.survivors == ()


@pytest.mark.parametrize("command", [b"l", b"f"])
def test_sandbox_that_becomes_empty_while_it_is_listed_is_empty(command: bytes) -> None:
    """Where the last process ends by itself between the list and the freeze, nothing is left."""
    act = Act(survivors=[SLEEPER], end_at=command)
    run = _run(FakeEngine({"one": act}), wants_evidence=lambda *_: False)

    assert run.ending == Exited(0)
    assert run.survivors == ()


class _Ending(Sequence[Survivor]):
    """Survivors of which the last ends once the first list was told."""

    def __init__(self, *all_of_them: Survivor) -> None:
        self._left = list(all_of_them)
        self._told = False

    def __iter__(self) -> Iterator[Survivor]:
        told = self._left if not self._told else self._left[:-1]
        self._told = True
        return iter(told)

    def __len__(self) -> int:
        return len(self._left)

    @overload
    def __getitem__(self, at: int) -> Survivor: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Survivor]: ...
    def __getitem__(self, at: int | slice) -> Survivor | Sequence[Survivor]:
        return self._left[at]


def test_who_ends_while_terminals_are_looked_at_was_left() -> None:
    """Collecting takes time; a process that ends meanwhile is a survivor as it was without."""
    act = Act(survivors=_Ending(TMUX, SLEEPER), sockets={"unix": LISTENING}, probes=PROBES)

    assert {one.pid for one in _run(FakeEngine({"one": act})).survivors} == {7, 8}


BROKEN: dict[str, tuple[Act, str]] = {
    "keeper": (Act(dies_at=b"u"), "what it used: the sandbox ended before the scenario did"),
    "terminal": (
        Act(survivors=[TMUX], sockets={"unix": LISTENING}),
        "the panes of tmux at /run/tmux: starting the probe: no act has it",
    ),
    "folder": (
        Act(changes={HOME: Path("/nowhere")}),
        f"{HOME}: No such file or directory",
    ),
    "no folder": (Act(), f"{HOME}: what changed in it was not kept on disk"),
}


@pytest.mark.parametrize(("act", "why"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_collected_changes_no_verdict(act: Act, why: str) -> None:
    """The ending is the script's own, and the evidence says what is missing and why."""
    run = _run(FakeEngine({"one": act}))

    assert run.ending == Exited(0)
    assert run.evidence is not None
    assert why in run.evidence.missing


def test_interrupt_while_collecting_changes_no_verdict(tmp_path: Path) -> None:
    """What was judged before a run was interrupted stays judged."""
    interrupt = Interrupt()

    def wants_evidence(_ending: Ending, _survivors: tuple[Process, ...]) -> bool:
        interrupt.raise_for("SIGINT")
        return True

    act = Act(status=1 << 8, changes={HOME: tmp_path})
    run = _run(FakeEngine({"one": act}), wants_evidence=wants_evidence, interrupt=interrupt)

    assert run.ending == Exited(1)
    assert run.evidence is not None
    assert run.evidence.missing == ("what it used: SIGINT",)


def test_broken_sandbox_is_looked_at_too(tmp_path: Path) -> None:
    """What a scenario wrote before its sandbox broke is evidence; its keeper is asked no more."""
    (tmp_path / "core").write_text("why")
    engine = FakeEngine({"one": Act(dies_at=b"g", changes={HOME: tmp_path})})
    run = _run(engine)

    assert run.evidence is not None
    assert [one.path for one in run.evidence.changes] == [f"{HOME}/core"]
    assert "u" not in _commands(engine)


def test_interrupt_is_the_ending_of_what_was_not_judged() -> None:
    """An interrupt before the script ended is told as such to whoever decides."""
    interrupt, asked = Interrupt(), []

    def wants_evidence(ending: Ending, _survivors: tuple[Process, ...]) -> bool:
        asked.append(ending)
        return False

    act = Act(status=None, on_go=lambda: interrupt.raise_for("SIGINT"))
    run = _run(FakeEngine({"one": act}), wants_evidence=wants_evidence, interrupt=interrupt)

    assert asked == [run.ending] == [Stopped("SIGINT")]


LEFT = "box could not be removed"


@pytest.mark.parametrize(
    ("act", "ending"),
    [
        (Act(leaves=LEFT), Exited(0)),
        (Act(leaves=LEFT, status=3 << 8), Exited(3)),
        (Act(leaves=LEFT, broken="no bash"), Broke("the sandbox could not continue: no bash")),
        (Act(leaves=LEFT, dies_at=b"g"), Broke("the sandbox ended before the scenario did")),
    ],
)
def test_what_is_left_behind_changes_no_ending(act: Act, ending: Ending) -> None:
    """It is told beside the ending, with the command that removes it."""
    run = _run(FakeEngine({"one": act}))

    assert run.ending == ending
    assert run.cleanup_failures == (f"{LEFT} (remove it: remove {LEFT})",)


class _HalfMade(FakeEngine):
    """An engine whose sandboxes break while they are made, and leave something."""

    @contextmanager
    def sandbox(self, spec: SandboxSpec) -> Iterator[FakeSandbox]:
        try:
            with super().sandbox(spec):
                raise EngineError("no room", hint="make room")
        finally:
            raise LeftBehindError(LEFT)


def test_a_half_made_sandbox_that_stays_is_told_with_what_broke_it() -> None:
    """The ending is what broke first, and what is left is told beside it."""
    run = _run(_HalfMade())

    assert run.ending == Broke("no room (try: make room)")
    assert run.cleanup_failures == (LEFT,)
