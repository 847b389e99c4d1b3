"""A stress run: its limits, its fresh sandboxes, its logs and its end."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier

import pytest

from isosmoke.execution.attempt import AttemptRunner
from isosmoke.execution.requirements import Requirements
from isosmoke.host.caller_process import Caller
from isosmoke.host.workspace_directories import Workspace
from isosmoke.interrupt import Interrupt
from isosmoke.investigation.repetition.stress import Stress, StressLimits
from isosmoke.investigation.repetition.tally import Repetition
from isosmoke.keeper.events import Output
from isosmoke.manifest.models import Scenario
from isosmoke.results.outcome import Outcome
from isosmoke.runner.job_builder import RunContext
from isosmoke.testing import Act, FakeEngine

PASS, FAIL = Act(), Act(status=1 << 8, output=[Output("stdout", b"no\n")])


@dataclass(slots=True)
class Project:
    """A scenario on a fake engine; `notified` are the repetitions that were reported."""

    directory: Path
    notified: list[Repetition] = field(default_factory=list)
    interrupt: Interrupt = field(default_factory=Interrupt)
    engine: FakeEngine = field(default_factory=FakeEngine)

    def stress(
        self,
        acts: Act | Sequence[Act],
        limits: StressLimits,
        *,
        stop_after: int = 0,
        **keys: object,
    ) -> Stress:
        """Return an ended stress run; the interrupt is raised after `stop_after` repetitions."""
        self.engine = FakeEngine({"one": acts})
        entry = {"name": "one", "script": "one.sh", "settle_seconds": 0, **keys}
        environment = {"PATH": ""}
        home = self.directory
        caller = Caller(uid=1, gid=1, user="u", home=home, working=home, environment=environment)

        def notify(repetition: Repetition) -> None:
            self.notified.append(repetition)
            if len(self.notified) == stop_after:
                self.interrupt.raise_for("SIGINT")

        stress = Stress(
            scenario=Scenario.validate(entry).place(Path("/scenarios")),
            attempts=AttemptRunner(
                engine_for=lambda _: self.engine,
                context=RunContext(caller, Workspace((home,), (), home), None),
                requirements=Requirements(environment, has_binary=False),
                record=self.directory,
                interrupt=self.interrupt,
            ),
            limits=limits,
            interrupt=self.interrupt,
            notify=notify,
        )
        stress.run()
        return stress


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project in an empty directory."""
    return Project(tmp_path)


def test_each_repetition_has_a_fresh_sandbox(project: Project) -> None:
    """There are as many sandboxes as repetitions, and only logs of failures remain."""
    acts = [FAIL if number % 3 == 0 else PASS for number in range(1, 10)]
    stress = project.stress(acts, StressLimits(count=9))

    assert (stress.tally.runs, stress.tally.failed) == (9, 3)
    assert len(project.engine.made) == 9
    assert [repetition.number for repetition in project.notified] == [*range(1, 10)]
    logs = sorted(path.name for path in (project.directory / "one").iterdir())
    assert logs == ["output-3.log", "output-6.log", "output-9.log"]
    assert stress.stopped == ""


def test_repetitions_run_concurrently_and_know_it(project: Project) -> None:
    """With several jobs, repetitions meet, and each has the number of the others."""
    act = Act(on_go=Barrier(3, timeout=60).wait)
    project.stress(act, StressLimits(count=6, jobs=3))

    assert {repetition.others for repetition in project.notified} == {2}


def test_lock_of_scenario_excludes_its_own_repetitions(project: Project) -> None:
    """A scenario with a lock never runs concurrently with itself, as the lock is its own too."""
    stress = project.stress(PASS, StressLimits(count=4, jobs=4), locks=["port"])

    assert stress.jobs == 1
    assert {repetition.others for repetition in project.notified} == {0}


def test_limit_of_failures_ends_it(project: Project) -> None:
    """No repetition starts after the last tolerated failure."""
    stress = project.stress([PASS, FAIL, PASS, FAIL, PASS], StressLimits(count=99, max_fail=2))

    assert (stress.tally.runs, stress.tally.failed) == (4, 2)


def test_huge_count_needs_no_memory_in_advance(project: Project) -> None:
    """The repetitions are not created before they run; a limit of failures ends this run."""
    stress = project.stress([PASS, FAIL], StressLimits(count=10**15, max_fail=1, jobs=1))

    assert stress.tally.runs == 2


def test_elapsed_time_ends_it(project: Project) -> None:
    """A repetition that is in progress when the time is over still counts."""
    stress = project.stress(PASS, StressLimits(seconds=1e-9))

    assert stress.tally.runs == 1
    assert stress.stopped == ""


def test_interrupt_leaves_partial_result(project: Project) -> None:
    """The repetitions before the interrupt are counted, and none starts afterwards."""
    stress = project.stress(PASS, StressLimits(count=99), stop_after=3)

    assert stress.tally.runs == 3
    assert stress.stopped == "SIGINT"


def test_broken_engine_ends_it(project: Project) -> None:
    """An engine that fails again and again is not asked a million times."""
    stress = project.stress([PASS, *[Act(refuses="no daemon")] * 9], StressLimits(count=10**6))

    assert (stress.tally.runs, stress.tally.broken) == (1, 3)
    assert stress.stopped == "the engine failed 3 times in a row"


def test_missing_requirement_is_one_skip(project: Project) -> None:
    """A scenario that cannot run here is not tried again and again."""
    stress = project.stress(
        PASS, StressLimits(count=10**6), requires={"commands": ["no-such-command"]}
    )

    assert stress.tally.counts == {Outcome.SKIP: 1}
    assert "no-such-command" in stress.tally.skip_reason
    assert project.engine.made == []
