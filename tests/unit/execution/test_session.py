"""A run in progress: each engine and binary is checked once, for any number of scenarios."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from isosmoke.engines.base import Engine, EngineInfo
from isosmoke.errors import EngineUnavailableError, LeftBehindError
from isosmoke.execution import preflight, session
from isosmoke.execution.request import Request
from isosmoke.execution.scheduler import Policy
from isosmoke.execution.session import Session
from isosmoke.history import reader
from isosmoke.host.caller_process import Caller
from isosmoke.host.git import RepositoryState
from isosmoke.interrupt import Interrupt
from isosmoke.keeper.events import Output
from isosmoke.manifest.models import Scenario
from isosmoke.results.events import Event, RunFinished, RunStarted, ScenarioFinished
from isosmoke.results.outcome import Outcome
from isosmoke.results.records.origin import RepositoryRecord
from isosmoke.results.run_results import ScenarioResult
from isosmoke.testing import Act, FakeEngine
from support.git_repositories import Git


class CountingEngine(FakeEngine):
    """A fake engine that counts its checks and sweeps."""

    checked = 0
    swept = 0
    remains = ""

    def preflight(self) -> None:
        self.checked += 1
        super().preflight()

    def sweep(self) -> tuple[str, ...]:
        self.swept += 1
        if self.remains:
            raise LeftBehindError(self.remains, hint="remove it")
        return ()


@dataclass(frozen=True)
class Project:
    """A project directory with a binary, and a fake engine under each engine's name."""

    directory: Path
    engine: CountingEngine
    events: list[Event] = field(default_factory=list)

    def begin(self, *scenarios: Scenario, **policy: Any) -> Session:
        """Return a session that starts with these scenarios; `policy` has fields of its policy."""
        return session.begin(
            Request(
                scenarios=scenarios, binary=str(self.directory / "wg"), policy=Policy(**policy)
            ),
            self._caller(),
            notify=self.events.append,
            interrupt=Interrupt(),
        )

    def _caller(self) -> Caller:
        environment = {"PATH": "/usr/bin:/bin", "HOME": "/home/alice"}
        home = Path("/home/alice")
        return Caller(
            uid=1, gid=1, user="u", home=home, working=self.directory, environment=environment
        )


@pytest.fixture
def create_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Project]:
    """Return a function that creates a project whose scenarios act as specified."""
    (tmp_path / "wg").write_text("#!/bin/sh\n")
    (tmp_path / "wg").chmod(0o755)

    def make(
        acts: Mapping[str, Act | Sequence[Act]] | None = None, *, unavailable: str = ""
    ) -> Project:
        engine = CountingEngine(acts, unavailable=unavailable)

        def create_engine() -> Engine:
            return engine

        monkeypatch.setattr(
            preflight, "ENGINES", {"bubblewrap": create_engine, "docker": create_engine}
        )
        return Project(tmp_path, engine)

    return make


def scenario(name: str, **keys: object) -> Scenario:
    """Return a scenario of this name."""
    return Scenario.validate({"name": name, "script": f"{name}.sh", **keys})


def test_engine_and_binary_are_checked_once(create_project: Callable[..., Project]) -> None:
    """An engine is swept and its binary is tried once, for any number of runs in a session."""
    project = create_project()
    one, other = scenario("one"), scenario("other")
    session = project.begin(one, other)

    session.run([one])
    session.run([other])

    assert (project.engine.checked, project.engine.swept) == (1, 1)
    assert [spec.label for spec in project.engine.made] == ["one", "one", "other"]


def test_confirmed_failure_runs_normally_afterwards(create_project: Callable[..., Project]) -> None:
    """A scenario that was rerun in isolation runs like any other when it is run again."""
    together = Barrier(2, timeout=60).wait
    failing, passing = Act(status=1 << 8, on_go=together), Act()
    # The binary is checked in the sandbox of the first scenario.
    project = create_project(
        {"bad": [passing, failing, passing], "good": [Act(on_go=together), passing]}
    )
    bad, good = scenario("bad"), scenario("good")
    session = project.begin(bad, good, jobs=2, confirm="always")

    first, _ = session.run([bad, good])
    (second,) = session.run([bad])

    assert [attempt.alone for attempt in first.attempts] == [False, True]
    assert [attempt.alone for attempt in second.attempts] == [True]
    finished = [event.result for event in project.events if isinstance(event, ScenarioFinished)]
    assert finished.count(second) == 1


def list_outcomes(result: ScenarioResult) -> list[list[Outcome]]:
    """Return the outcomes of the attempts of each repetition."""
    return [[attempt.outcome for attempt in attempts] for attempts in result.repetitions]


def test_repetitions_are_fresh_and_counted_together(
    create_project: Callable[..., Project],
) -> None:
    """Each repetition has its own sandbox, log and retries; the result is reported at the end."""
    checked, failing, passing = Act(), Act(status=1 << 8), Act()
    project = create_project({"one": [checked, passing, failing, passing, failing, failing]})
    session = project.begin(scenario("one"), repeat=3, retries=1)

    run = session.end(session.run([scenario("one")]))

    (result,) = run.scenarios
    assert list_outcomes(result) == [
        [Outcome.PASS],
        [Outcome.FAIL, Outcome.PASS],
        [Outcome.FAIL, Outcome.FAIL],
    ]
    assert result.outcome is Outcome.FAIL
    assert result.failures == 1
    assert run.record is not None
    logs = [attempt.log for attempt in result.attempts]
    assert logs == [run.record / f"one/output-{number}.log" for number in range(1, 6)]
    assert len(project.engine.made) == 6
    finished = [event.result for event in project.events if isinstance(event, ScenarioFinished)]
    assert [list_outcomes(item) for item in finished] == [list_outcomes(result)]
    assert reader.load_run(run.record).scenarios[0].attempts[-1].repetition == 3


def test_limit_of_failures_ends_repetitions(create_project: Callable[..., Project]) -> None:
    """The limit counts failures of all repetitions, and each scenario is still reported once."""
    passing, failing = Act(), Act(status=1 << 8)
    project = create_project({"one": [passing, failing, passing, failing, passing]})
    session = project.begin(scenario("one"), scenario("two"), repeat=9, max_fail=2)

    one, two = session.run([scenario("one"), scenario("two")])

    assert list_outcomes(one) == [[Outcome.FAIL], [Outcome.PASS], [Outcome.FAIL]]
    assert list_outcomes(two) == [[Outcome.PASS], [Outcome.PASS], [Outcome.NOT_RUN]]
    finished = [
        event.result.name for event in project.events if isinstance(event, ScenarioFinished)
    ]
    assert finished == ["one", "two"]


def test_interrupt_ends_repetitions(create_project: Callable[..., Project]) -> None:
    """An interrupt ends the repetition in progress, and none follows."""
    project = create_project()
    session = project.begin(scenario("one"), repeat=9)
    session.preflight.interrupt.raise_for("SIGINT")

    (one,) = session.run([scenario("one")])

    assert list_outcomes(one) == [[Outcome.NOT_RUN]]


def test_later_scenario_is_checked_when_it_first_runs(
    create_project: Callable[..., Project],
) -> None:
    """Another image has its own engine and check of the binary, made when it first runs."""
    project = create_project()
    session = project.begin(scenario("one"))
    later = scenario("later", image="debian")

    session.run([later])
    session.run([later])

    assert project.engine.checked == 2
    assert [spec.image for spec in project.engine.made] == ["host", "debian", "debian", "debian"]
    assert session.end(()).engine == "bubblewrap+docker"


@pytest.mark.parametrize(
    ("status", "text", "version"),
    [(0, "tool 1.2\nmore", "tool 1.2"), (1 << 8, "tool 1.2", ""), (0, "usage: tool", "")],
)
def test_version_of_the_binary_is_what_it_prints(
    create_project: Callable[..., Project], status: int, text: str, version: str
) -> None:
    """It is the first line of a successful answer to --version, if that line has a digit."""
    answer = Act(status=status, output=[Output("stdout", text.encode())])
    session = create_project({"one": [answer, Act()]}).begin(scenario("one"))

    assert session.end(session.run([scenario("one")])).binary_version == version


def test_record_has_the_state_of_the_work_tree(create_project: Callable[..., Project]) -> None:
    """The work tree is that of the caller; outside of one nothing is recorded."""
    project = create_project()
    without = project.begin(scenario("one"))
    assert without.end(()).repository is None

    git = Git(project.directory)
    commit = git.commit("One", file_txt="one")
    within = project.begin(scenario("one"))
    assert within.end(()).repository == RepositoryState(commit, "main", dirty=False)
    record = reader.load_run(within.recording.directory)
    assert record.repository == RepositoryRecord(commit=commit, branch="main", dirty=False)


def test_end_reports_all_results_together(create_project: Callable[..., Project]) -> None:
    """Scenarios that were run separately are one result, reported once, with one log directory."""
    project = create_project({"bad": Act(status=1 << 8)})
    good, bad = scenario("good"), scenario("bad")
    session = project.begin(good, bad)

    result = session.end((*session.run([good]), *session.run([bad])))

    assert [scenario.outcome for scenario in result.scenarios] == [Outcome.PASS, Outcome.FAIL]
    assert isinstance(project.events[0], RunStarted)
    assert project.events[-1] == RunFinished(result)
    assert result.record is not None
    assert {scenario.reported_attempt.log for scenario in result.scenarios} == {
        result.record / "good/output-1.log",
        result.record / "bad/output-1.log",
    }


def test_unsupported_limit_is_noted_once(create_project: Callable[..., Project]) -> None:
    """A run notes once each limit that has no effect, with the engine."""
    project = create_project()
    both = [scenario(name, limits={"memory": "64M", "processes": 9}) for name in ("one", "other")]
    session = project.begin(*both, scenario("free"))

    result = session.end(session.run([*both, scenario("free")]))

    note = "limits.memory has no effect on bubblewrap here: run isosmoke doctor for details"
    assert result.notes == (note,)


@pytest.mark.parametrize(
    ("rootless", "version", "limits"),
    [
        (False, 1, {"memory", "processes"}),
        (False, None, set()),
        (True, 2, {"memory", "processes"}),
        (True, 1, {"processes"}),
        (True, None, {"processes"}),
    ],
)
def test_supported_limits_depend_on_control_groups(
    *, rootless: bool, version: int | None, limits: set[str]
) -> None:
    """Version 1 is available to root only; an ordinary user's processes need no group."""
    facts = EngineInfo(version="1", where="x", reason="y", rootless=rootless, cgroup=version)

    assert facts.limits == limits


@pytest.mark.parametrize("rootless", [False, True])
def test_limit_without_its_controller_is_unsupported(*, rootless: bool) -> None:
    """A group with the controller pids alone, as some delegate it, limits no memory."""
    facts = EngineInfo(
        version="1",
        where="x",
        reason="y",
        rootless=rootless,
        cgroup=2,
        unlimited=frozenset({"memory"}),
    )

    assert facts.limits == {"processes"}


def test_run_without_engine_creates_nothing(create_project: Callable[..., Project]) -> None:
    """An unavailable engine is reported before a directory is created for the run."""
    project = create_project(unavailable="no engine today")

    with pytest.raises(EngineUnavailableError, match="no engine today"):
        project.begin(scenario("one"))

    assert not (project.directory / ".isosmoke").exists()
    assert project.events == []


def test_remains_of_dead_run_are_noted(create_project: Callable[..., Project]) -> None:
    """Remains of a dead run change no verdict of this run, but are reported."""
    project = create_project()
    project.engine.remains = "/sys/fs/cgroup/pids/left could not be removed"
    session = project.begin(scenario("one"))

    result = session.end(session.run([scenario("one")]))

    assert [scenario.outcome for scenario in result.scenarios] == [Outcome.PASS]
    (note,) = result.notes
    assert "dead run" in note
    assert project.engine.remains in note
