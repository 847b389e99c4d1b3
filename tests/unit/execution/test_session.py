"""A run under way: what is looked at once, however often more is run in it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier

import pytest

from isosmoke.engines.base import Engine, Facts
from isosmoke.errors import EngineUnavailableError, LeftBehindError
from isosmoke.execution import preflight, session
from isosmoke.execution.scheduler import Policy
from isosmoke.execution.session import Request, Session
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.manifest.models import Scenario
from isosmoke.results.events import Event, RunFinished, RunStarted, ScenarioFinished
from isosmoke.results.outcome import Broke, Ending, Exited, Outcome
from isosmoke.results.run_results import Attempt
from isosmoke.testing import Act, FakeEngine
from support import result_factories


class Watched(FakeEngine):
    """Counts what should be done once."""

    looked_at = 0
    swept = 0
    leaves = ""

    def preflight(self) -> None:
        self.looked_at += 1
        super().preflight()

    def sweep(self) -> tuple[str, ...]:
        self.swept += 1
        if self.leaves:
            raise LeftBehindError(self.leaves, hint="remove it")
        return ()


@dataclass(frozen=True)
class Stage:
    """A folder with a binary, and one fake engine under each engine's name."""

    folder: Path
    engine: Watched
    events: list[Event] = field(default_factory=list)

    def begin(self, *scenarios: Scenario, jobs: int = 1) -> Session:
        """A session that begins with these scenarios."""
        return session.begin(
            Request(scenarios=scenarios, binary=str(self.folder / "wg"), policy=Policy(jobs=jobs)),
            self._caller(),
            notify=self.events.append,
            interrupt=Interrupt(),
        )

    def _caller(self) -> Caller:
        environment = {"PATH": "/usr/bin:/bin", "HOME": "/home/somebody"}
        home = Path("/home/somebody")
        return Caller(
            uid=1, gid=1, user="u", home=home, working=self.folder, environment=environment
        )


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Stage]:
    """Makes a stage whose scenarios act as told."""
    (tmp_path / "wg").write_text("#!/bin/sh\n")
    (tmp_path / "wg").chmod(0o755)

    def make(
        acts: Mapping[str, Act | Sequence[Act]] | None = None, *, unavailable: str = ""
    ) -> Stage:
        engine = Watched(acts, unavailable=unavailable)

        def maker() -> Engine:
            return engine

        monkeypatch.setattr(preflight, "ENGINES", {"bubblewrap": maker, "docker": maker})
        return Stage(tmp_path, engine)

    return make


def scenario(name: str, **keys: object) -> Scenario:
    """A scenario of this name."""
    return Scenario.model_validate({"name": name, "script": f"{name}.sh", **keys})


def test_engines_and_the_binary_are_looked_at_once(stage: Callable[..., Stage]) -> None:
    """However often a session runs something, its engine is swept and its binary tried once."""
    on = stage()
    one, other = scenario("one"), scenario("other")
    session = on.begin(one, other)

    session.run([one])
    session.run([other])

    assert (on.engine.looked_at, on.engine.swept) == (1, 1)
    assert [spec.label for spec in on.engine.made] == ["one", "one", "other"]


def test_a_confirmed_failure_is_not_confirmed_again_later(stage: Callable[..., Stage]) -> None:
    """A scenario that was rerun in isolation once runs like any other when it is run again."""
    together = Barrier(2, timeout=60).wait
    failing, passing = Act(status=1 << 8, on_go=together), Act()
    # The binary is checked in the sandbox of the first scenario.
    on = stage({"bad": [passing, failing, passing], "good": [Act(on_go=together), passing]})
    bad, good = scenario("bad"), scenario("good")
    session = on.begin(bad, good, jobs=2)

    first, _ = session.run([bad, good])
    (second,) = session.run([bad])

    assert [attempt.alone for attempt in first.attempts] == [False, True]
    assert [attempt.alone for attempt in second.attempts] == [True]
    finished = [event.result for event in on.events if isinstance(event, ScenarioFinished)]
    assert finished.count(second) == 1


def test_what_was_not_asked_for_at_first_is_admitted_later(stage: Callable[..., Stage]) -> None:
    """Another image brings its own engine, and has the binary tried in it, when it is first run."""
    on = stage()
    session = on.begin(scenario("one"))
    later = scenario("later", image="debian")

    session.run([later])
    session.run([later])

    assert on.engine.looked_at == 2
    assert [spec.image for spec in on.engine.made] == ["host", "debian", "debian", "debian"]
    assert session.end(()).engine == "bubblewrap+docker"


def test_the_end_tells_all_results_in_one(stage: Callable[..., Stage]) -> None:
    """What was run bit by bit is one result, told once, with logs in one folder."""
    on = stage({"bad": Act(status=1 << 8)})
    good, bad = scenario("good"), scenario("bad")
    session = on.begin(good, bad)

    result = session.end((*session.run([good]), *session.run([bad])))

    assert [one.outcome for one in result.scenarios] == [Outcome.PASS, Outcome.FAIL]
    assert isinstance(on.events[0], RunStarted)
    assert on.events[-1] == RunFinished(result)
    assert result.record is not None
    assert {one.telling.log for one in result.scenarios} == {
        result.record / "good/output-1.log",
        result.record / "bad/output-1.log",
    }


def test_a_limit_that_cannot_be_set_is_told_once(stage: Callable[..., Stage]) -> None:
    """A run says which of the limits that its scenarios ask for have no effect, and where."""
    on = stage()
    both = [scenario(name, limits={"memory": "64M", "processes": 9}) for name in ("one", "other")]
    session = on.begin(*both, scenario("free"))

    result = session.end(session.run([*both, scenario("free")]))

    told = "limits.memory has no effect on bubblewrap here: isosmoke doctor says why"
    assert result.notes == (told,)


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
def test_what_an_engine_can_limit_goes_by_its_control_groups(
    *, rootless: bool, version: int | None, limits: set[str]
) -> None:
    """Version 1 is root's alone, and an ordinary user's processes need no group."""
    facts = Facts(version="1", where="x", reason="y", rootless=rootless, cgroup=version)

    assert facts.limits == limits


def test_nothing_is_begun_without_an_engine(stage: Callable[..., Stage]) -> None:
    """An engine that cannot work is told before a folder is made for the run."""
    on = stage(unavailable="no engine today")

    with pytest.raises(EngineUnavailableError, match="no engine today"):
        on.begin(scenario("one"))

    assert not (on.folder / ".isosmoke").exists()
    assert on.events == []


@pytest.mark.parametrize(
    ("ending", "code"), [(Exited(0), 125), (Exited(77), 125), (Exited(1), 1), (Broke("no"), 125)]
)
def test_what_is_left_behind_is_infrastructure_unless_something_blocks(
    ending: Ending, code: int
) -> None:
    """A run that left something never ends as if all were well, and hides no failure."""
    left = Attempt(ending=ending, left_behind=("box",))

    assert session.exit_code(result_factories.run(result_factories.result(left))) == code


def test_what_a_dead_run_left_for_ever_is_noted(stage: Callable[..., Stage]) -> None:
    """It is no fault of this run, whose verdicts stand; but it is told."""
    on = stage()
    on.engine.leaves = "/sys/fs/cgroup/pids/left could not be removed"
    session = on.begin(scenario("one"))

    result = session.end(session.run([scenario("one")]))

    assert [one.outcome for one in result.scenarios] == [Outcome.PASS]
    (note,) = result.notes
    assert "dead run" in note
    assert on.engine.leaves in note
