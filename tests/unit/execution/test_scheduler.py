"""The scheduler: order, fail-fast, interrupts, retries, confirmation, locks and requirements."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Barrier, Lock
from time import monotonic
from typing import Literal

import pytest

from isosmoke.execution.attempt import AttemptRunner
from isosmoke.execution.concurrency import start_order
from isosmoke.execution.concurrency.load_readings import SharedState, Stalls
from isosmoke.execution.concurrency.meter import Meter
from isosmoke.execution.requirements import Requirements
from isosmoke.execution.scheduler import Policy, Scheduler
from isosmoke.history.experience import Experience, KnownFailure, PastScenario
from isosmoke.host.caller_process import Caller
from isosmoke.host.workspace_directories import Workspace
from isosmoke.interrupt import Interrupt
from isosmoke.keeper.events import Output
from isosmoke.manifest.models import Scenario
from isosmoke.results.events import Event, ScenarioFinished, ScenarioPostponed, ScenarioStarted
from isosmoke.results.outcome import Exited, Outcome, TimedOut
from isosmoke.results.run_results import ScenarioResult
from isosmoke.runner.job_builder import RunContext
from isosmoke.testing import Act, FakeEngine, survivor

PASS, FAIL, SKIP = Act(), Act(status=1 << 8), Act(status=77 << 8)
LEAK = Act(survivors=[survivor(7, ["sleep", "9"])])
TIMEOUT = 60


def meeting_act(number: int, status: int = 0) -> Act:
    """Return an act that waits until `number` scenarios run at the same time."""
    return Act(on_go=Barrier(number, timeout=TIMEOUT).wait, status=status)


UNKNOWN = SharedState(sockets=None, connections=None, killed=None, free_memory=None, free_disk=None)
IDLE = SharedState(sockets=frozenset(), connections=0, killed=0, free_memory=0.5, free_disk=1 << 40)


def create_meter(surroundings: SharedState, waited: Callable[[], float] = lambda: 0.0) -> Meter:
    """Return a meter of a machine in this state, whose tasks `waited` for a CPU so long.

    That time passes on its clock, too.
    """
    return Meter(
        directory=Path("/"),
        processors=1,
        cores=1.0,
        clock=lambda: monotonic() + waited(),
        pause=lambda _: None,
        read_stalls=lambda: Stalls(cpu=waited(), memory=0.0, io=0.0),
        read_surroundings=lambda _: surroundings,
    )


def scenario(name: str, **keys: object) -> Scenario:
    """Return a scenario of this name that settles at once."""
    entry = {"name": name, "script": f"{name}.sh", "settle_seconds": 0, "grace_seconds": 0, **keys}
    return Scenario.validate(entry).place(Path("/scenarios"))


@dataclass(slots=True)
class Run:
    """A schedule on a fake engine, with all events that it reports.

    By default nothing is known about the load of the machine, so every failure is confirmed.
    """

    record: Path
    acts: Mapping[str, Act | Sequence[Act]] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": ""})
    argv: tuple[str, ...] = ()
    interrupt: Interrupt = field(default_factory=Interrupt)
    events: list[Event] = field(default_factory=list)
    echoed: list[Output] = field(default_factory=list)
    engine: FakeEngine = field(default_factory=FakeEngine)
    meter: Meter = field(default_factory=lambda: create_meter(UNKNOWN))
    experience: Experience = field(default_factory=Experience)
    is_local: bool = True

    def execute(self, *scenarios: Scenario) -> tuple[ScenarioResult, ...]:
        """Return the results of these scenarios."""
        self.engine = FakeEngine(self.acts)
        self.engine.is_local = self.is_local
        attempts = AttemptRunner(
            engine_for=lambda _: self.engine,
            context=self._context(),
            requirements=Requirements(self.environment, has_binary=False),
            record=self.record,
            interrupt=self.interrupt,
            leaks=self.policy.leaks,
            evidence=self.policy.evidence,
            on_output=self.echoed.append,
        )
        scheduler = Scheduler(
            scenarios=scenarios,
            attempts=attempts,
            policy=self.policy,
            notify=self.events.append,
            interrupt=self.interrupt,
            meter=self.meter,
            experience=self.experience,
            digest=lambda scenario: f"digest of {scenario.name}",
            argv=self.argv,
        )
        return scheduler.run()

    def outcomes(self, *scenarios: Scenario) -> dict[str, Outcome]:
        """Return the outcome of each scenario, in the order of the results."""
        return {result.name: result.outcome for result in self.execute(*scenarios)}

    def list_events(self, kind: type[ScenarioStarted | ScenarioPostponed]) -> list[str]:
        """Return the scenarios of the events of this kind, in order."""
        return [event.name for event in self.events if isinstance(event, kind)]

    def list_finished(self) -> list[str]:
        """Return the scenarios that were reported as finished, in order."""
        return [event.result.name for event in self.events if isinstance(event, ScenarioFinished)]

    def list_sandboxes(self) -> list[str]:
        """Return the scenarios that were given a sandbox, in order."""
        return [spec.label for spec in self.engine.made]

    def _context(self) -> RunContext:
        home = self.record / "home"
        caller = Caller(
            uid=4_000_123,
            gid=4_000_123,
            user="alice",
            home=home,
            working=home,
            environment=self.environment,
        )
        return RunContext(caller, Workspace((self.record,), (), self.record), None)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a run with one scenario at a time."""
    return Run(tmp_path)


@pytest.fixture
def concurrent_run(tmp_path: Path) -> Run:
    """Return a run with several concurrent scenarios."""
    return Run(tmp_path, policy=Policy(jobs=4))


def test_results_are_in_given_order(concurrent_run: Run) -> None:
    """The results are in the order of the manifest, regardless of the order of the endings."""
    names = [f"s{number}" for number in (3, 1, 2, 0, 9, 7, 8)]
    concurrent_run.acts = {"s1": FAIL, "s9": SKIP, "s7": LEAK}
    outcomes = concurrent_run.outcomes(*map(scenario, names))

    assert list(outcomes) == names
    assert [outcomes[name] for name in ("s3", "s1", "s9", "s7")] == [
        *(Outcome.PASS, Outcome.FAIL, Outcome.SKIP, Outcome.LEAK)
    ]


def test_single_job_runs_in_order(run: Run) -> None:
    """With one job, each scenario ends before the next one starts."""
    names = ["b", "a", "c"]
    run.execute(*map(scenario, names))

    assert run.list_sandboxes() == names
    assert [type(event) for event in run.events] == [ScenarioStarted, ScenarioFinished] * 3
    assert run.list_finished() == names


def test_jobs_run_concurrently(concurrent_run: Run) -> None:
    """As many scenarios run at the same time as there are jobs."""
    together = meeting_act(4)
    concurrent_run.acts = dict.fromkeys("abcd", together)

    assert set(concurrent_run.outcomes(*map(scenario, "abcd")).values()) == {Outcome.PASS}


def test_no_scenarios_give_no_results(run: Run) -> None:
    """An empty selection is no error for the scheduler; the caller must prevent it."""
    assert run.execute() == ()


def test_fail_fast_starts_no_scenario_after_failure(run: Run) -> None:
    """After a failure the remaining scenarios are NOT_RUN with a reason, and get no sandbox."""
    run.acts = {"b": FAIL}
    run.policy = Policy(max_fail=1)
    results = run.execute(*map(scenario, "abcd"))

    assert [result.outcome for result in results] == [
        *(Outcome.PASS, Outcome.FAIL, Outcome.NOT_RUN, Outcome.NOT_RUN)
    ]
    assert results[2].reported_attempt.reason == "an earlier scenario failed"
    assert run.list_sandboxes() == ["a", "b"]
    assert run.list_finished() == list("abcd")


@pytest.mark.parametrize("act", [PASS, SKIP], ids=["pass", "skip"])
def test_fail_fast_continues_after_pass_or_skip(run: Run, act: Act) -> None:
    """A pass or a skip stops nothing."""
    run.acts = {"a": act}
    run.policy = Policy(max_fail=1)

    assert run.outcomes(*map(scenario, "ab"))["b"] is Outcome.PASS


def test_scenarios_start_until_maximum_of_failures(run: Run) -> None:
    """The limit of failures counts scenarios, whatever passes between them."""
    run.acts = {"a": FAIL, "c": LEAK}
    run.policy = Policy(max_fail=2)
    results = run.execute(*map(scenario, "abcd"))

    assert [result.outcome for result in results] == [
        *(Outcome.FAIL, Outcome.PASS, Outcome.LEAK, Outcome.NOT_RUN)
    ]
    assert results[3].reported_attempt.reason == "2 scenarios failed"


def test_policy_replaces_retries_of_manifest(run: Run) -> None:
    """Retries of the command line replace those of the manifest, also with none."""
    run.acts = {"a": [FAIL, PASS], "b": [FAIL, PASS]}
    run.policy = Policy(retries=1)
    assert run.outcomes(scenario("a"))["a"] is Outcome.FLAKY

    run.policy = Policy(retries=0)
    assert run.outcomes(scenario("b", retries=1))["b"] is Outcome.FAIL


def test_failure_without_fail_fast_stops_nothing(run: Run) -> None:
    """By default every scenario is run, regardless of earlier outcomes."""
    run.acts = {"a": FAIL, "b": Act(refuses="no daemon")}

    assert list(run.outcomes(*map(scenario, "abc")).values()) == [
        *(Outcome.FAIL, Outcome.ERROR, Outcome.PASS)
    ]


def test_interrupt_prevents_remaining_scenarios(run: Run) -> None:
    """An interrupt ends the current scenario and starts no other; each is reported once."""
    run.acts = {"b": Act(on_go=lambda: run.interrupt.raise_for("SIGTERM"), status=None)}
    results = run.execute(*map(scenario, "abcd"))

    assert [result.outcome for result in results] == [Outcome.PASS, *[Outcome.NOT_RUN] * 3]
    assert {result.reported_attempt.reason for result in results[1:]} == {"SIGTERM"}
    assert run.list_sandboxes() == ["a", "b"]
    assert run.engine.destroyed == run.engine.made
    assert run.list_finished() == list("abcd")


def test_interrupt_finishes_concurrent_scenarios_once(concurrent_run: Run) -> None:
    """Concurrent scenarios that an interrupt ends are finished once each, without a retry."""
    barrier = Barrier(
        4, action=lambda: concurrent_run.interrupt.raise_for("SIGINT"), timeout=TIMEOUT
    )
    concurrent_run.acts = dict.fromkeys("abcd", Act(on_go=barrier.wait, status=None))
    outcomes = concurrent_run.outcomes(*map(scenario, "abcdef"))

    assert set(outcomes.values()) == {Outcome.NOT_RUN}
    assert sorted(concurrent_run.list_finished()) == list("abcdef")
    assert sorted(concurrent_run.list_sandboxes()) == list("abcd")
    assert concurrent_run.list_events(ScenarioPostponed) == []


def test_interrupt_before_start_runs_nothing(run: Run) -> None:
    """A run that is interrupted before its start creates no sandbox."""
    run.interrupt.raise_for("SIGINT")

    assert set(run.outcomes(*map(scenario, "ab")).values()) == {Outcome.NOT_RUN}
    assert run.list_sandboxes() == []


def test_interrupt_ends_retries(run: Run) -> None:
    """An interrupted scenario is not retried, regardless of its retries."""
    run.acts = {"a": Act(on_go=lambda: run.interrupt.raise_for("SIGINT"), status=None)}
    (result,) = run.execute(scenario("a", retries=5))

    assert len(result.attempts) == 1


@pytest.mark.parametrize(
    ("acts", "retries", "expected"),
    [
        ([PASS], 3, (Outcome.PASS, 1)),
        ([FAIL, PASS], 3, (Outcome.FLAKY, 2)),
        ([FAIL, FAIL, PASS], 2, (Outcome.FLAKY, 3)),
        ([FAIL, FAIL, PASS], 1, (Outcome.FAIL, 2)),
        ([FAIL], 0, (Outcome.FAIL, 1)),
        ([LEAK, PASS], 1, (Outcome.FLAKY, 2)),
        ([Act(refuses="busy"), PASS], 1, (Outcome.FLAKY, 2)),
        ([SKIP, PASS], 3, (Outcome.SKIP, 1)),
        ([FAIL, SKIP], 3, (Outcome.FAIL, 2)),
    ],
)
def test_retries_end_with_first_attempt_that_does_not_block(
    run: Run, acts: list[Act], retries: int, expected: tuple[Outcome, int]
) -> None:
    """A scenario is retried while it fails and retries remain; a pass after that is FLAKY."""
    run.acts = {"a": acts}
    (result,) = run.execute(scenario("a", retries=retries))

    assert (result.outcome, len(result.attempts)) == expected
    assert not result.load_sensitive
    assert run.list_events(ScenarioStarted) == ["a"] * len(result.attempts)
    assert run.list_finished() == ["a"]


def test_each_attempt_has_its_own_log_and_sandbox(run: Run) -> None:
    """The output of every attempt is in a separate file below the scenario's name."""
    acts = [Act(status=1 << 8, output=[Output("stdout", b"first")]), Act(output=[])]
    run.acts = {"a": acts}
    (result,) = run.execute(scenario("a", retries=1))

    assert [attempt.log for attempt in result.attempts] == [
        run.record / "a/output-1.log",
        run.record / "a/output-2.log",
    ]
    assert (run.record / "a/output-1.log").read_bytes() == b"first"
    assert (run.record / "a/output-2.log").read_bytes() == b""
    assert run.echoed == [Output("stdout", b"first")]
    assert run.engine.destroyed == run.engine.made
    assert len(run.engine.made) == 2


def test_concurrent_failure_that_passes_in_isolation_is_load_sensitive(concurrent_run: Run) -> None:
    """A scenario that fails concurrently and passes in isolation does not block; both are shown."""
    together = meeting_act(2, status=1 << 8)
    concurrent_run.acts = {"a": [together, PASS], "b": [together, PASS]}
    results = concurrent_run.execute(*map(scenario, "ab"))

    for result in results:
        assert result.outcome is Outcome.FLAKY
        assert result.load_sensitive
        assert [attempt.alone for attempt in result.attempts] == [False, True]
        assert result.reported_attempt.ending == Exited(1)
    assert sorted(concurrent_run.list_events(ScenarioPostponed)) == ["a", "b"]
    assert concurrent_run.list_finished() == ["a", "b"]
    assert concurrent_run.list_sandboxes()[2:] == ["a", "b"]


def test_concurrent_failure_that_fails_in_isolation_counts(concurrent_run: Run) -> None:
    """A scenario that fails again in isolation is a failure with two attempts."""
    together = meeting_act(2, status=1 << 8)
    concurrent_run.acts = {"a": [together, FAIL], "b": [Act(on_go=together.on_go), PASS]}
    failed, passed = concurrent_run.execute(*map(scenario, "ab"))

    assert failed.outcome is Outcome.FAIL
    assert not failed.load_sensitive
    assert [attempt.alone for attempt in failed.attempts] == [False, True]
    assert passed.outcome is Outcome.PASS
    assert len(passed.attempts) == 1


def test_concurrent_failure_on_a_quiet_machine_counts(concurrent_run: Run) -> None:
    """If a complete measurement excludes the neighbours, the scenario is not run again."""
    together = meeting_act(2, status=1 << 8)
    concurrent_run.acts = dict.fromkeys("ab", together)
    concurrent_run.meter = create_meter(IDLE)
    results = concurrent_run.execute(*map(scenario, "ab"))

    for result in results:
        (attempt,) = result.attempts
        assert result.outcome is Outcome.FAIL
        assert (attempt.alone, attempt.postponed, attempt.basis) == (False, False, "measured")
        assert attempt.doubts == ()
        assert attempt.load is not None
    assert concurrent_run.list_events(ScenarioPostponed) == []


def test_failure_on_an_engine_elsewhere_is_confirmed(concurrent_run: Run) -> None:
    """The load of this machine says nothing about sandboxes that may be on another one."""
    together = meeting_act(2, status=1 << 8)
    concurrent_run.acts = {"a": [together, FAIL], "b": Act(on_go=together.on_go)}
    concurrent_run.meter = create_meter(IDLE)
    concurrent_run.is_local = False
    result, _ = concurrent_run.execute(*map(scenario, "ab"))

    assert [attempt.basis for attempt in result.attempts] == ["", "alone"]
    assert [doubt.kind for doubt in result.attempts[0].doubts] == ["unmeasured"]


def test_every_failure_is_confirmed_on_request(concurrent_run: Run) -> None:
    """`--confirm always` asks for isolation even if no neighbour can be the cause."""
    together = meeting_act(2, status=1 << 8)
    concurrent_run.acts = {"a": [together, FAIL], "b": Act(on_go=together.on_go)}
    concurrent_run.meter = create_meter(IDLE)
    concurrent_run.policy = Policy(jobs=4, confirm="always")
    result, _ = concurrent_run.execute(*map(scenario, "ab"))

    assert [attempt.basis for attempt in result.attempts] == ["", "alone"]
    assert [doubt.kind for doubt in result.attempts[0].doubts] == ["option"]


def test_no_failure_is_confirmed_on_request(concurrent_run: Run) -> None:
    """`--confirm never` counts a failure at once, and the record says so."""
    together = meeting_act(2, status=1 << 8)
    concurrent_run.acts = {"a": together, "b": Act(on_go=together.on_go)}
    concurrent_run.policy = Policy(jobs=4, confirm="never")
    result, _ = concurrent_run.execute(*map(scenario, "ab"))

    assert [attempt.basis for attempt in result.attempts] == ["option"]
    assert result.outcome is Outcome.FAIL


def know(
    inputs: str = "digest of a", ending: str = "FAIL 1 None", hours: float = 1.0
) -> PastScenario:
    """Return the past of a scenario that failed alone some hours ago."""
    at = datetime.now(UTC).timestamp() - hours * 3600
    return PastScenario(seconds=1.0, failure=KnownFailure(inputs=inputs, ending=ending, at=at))


def test_failure_that_is_known_from_isolation_counts(concurrent_run: Run) -> None:
    """The same inputs failed alone in the same way lately, so no neighbour is needed for that."""
    together = meeting_act(2, status=1 << 8)
    concurrent_run.acts = {"a": together, "b": Act(on_go=together.on_go)}
    concurrent_run.experience = Experience({"a": know()})
    result, _ = concurrent_run.execute(*map(scenario, "ab"))

    assert [attempt.basis for attempt in result.attempts] == ["known"]
    assert result.attempts[0].doubts != ()


@pytest.mark.parametrize(
    "past", [know("another digest"), know(ending="FAIL 2 None"), know(hours=25), know(hours=-1)]
)
def test_another_failure_is_not_known(concurrent_run: Run, past: PastScenario) -> None:
    """Other inputs, another ending, or an old failure prove nothing about this one."""
    together = meeting_act(2, status=1 << 8)
    concurrent_run.acts = {"a": [together, FAIL], "b": Act(on_go=together.on_go)}
    concurrent_run.experience = Experience({"a": past})
    result, _ = concurrent_run.execute(*map(scenario, "ab"))

    assert [attempt.basis for attempt in result.attempts] == ["", "alone"]


def test_waiting_scenarios_are_confirmed_in_quiet_company(
    concurrent_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failures with doubts about the CPU alone run again together, if they left it idle before.

    A failure that meets a busy CPU again is confirmed alone at last.
    """
    monkeypatch.setattr(start_order, "_SHORT_SECONDS", 0.0)
    waits = [0.0]

    def meet_on_busy_machine(barrier: Barrier) -> None:
        barrier.wait()
        waits[0] += 0.25
        barrier.wait()

    first = partial(meet_on_busy_machine, Barrier(3, timeout=TIMEOUT))
    busy = Act(on_go=first, status=1 << 8)
    second = meeting_act(3, status=1 << 8)
    concurrent_run.acts = {"a": [busy, second], "b": [busy, second], "c": [busy, second]}
    concurrent_run.meter = create_meter(IDLE, lambda: waits[0])
    results = concurrent_run.execute(*map(scenario, "abc"))

    for result in results:
        assert [attempt.basis for attempt in result.attempts] == ["", "measured"]
        assert [doubt.kind for doubt in result.attempts[0].doubts] == ["cpu"]
        assert result.outcome is Outcome.FAIL
    assert sorted(concurrent_run.list_finished()) == list("abc")


def test_failure_with_doubts_left_in_quiet_company_is_confirmed_alone(
    concurrent_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quiet company decides nothing if the CPU was busy again."""
    monkeypatch.setattr(start_order, "_SHORT_SECONDS", 0.0)
    waits = [0.0]

    def meet_on_busy_machine(barrier: Barrier) -> None:
        barrier.wait()
        waits[0] += 0.25
        barrier.wait()

    busy = [
        Act(on_go=partial(meet_on_busy_machine, Barrier(2, timeout=TIMEOUT)), status=1 << 8)
        for _ in range(2)
    ]
    concurrent_run.acts = {"a": [*busy, FAIL], "b": [*busy, PASS]}
    concurrent_run.meter = create_meter(IDLE, lambda: waits[0])
    failed, passed = concurrent_run.execute(*map(scenario, "ab"))

    assert [attempt.basis for attempt in failed.attempts] == ["", "", "alone"]
    assert [attempt.postponed for attempt in failed.attempts] == [True, True, False]
    assert (failed.outcome, passed.outcome) == (Outcome.FAIL, Outcome.FLAKY)
    assert passed.load_sensitive


def test_skip_in_isolation_does_not_undo_concurrent_failure(concurrent_run: Run) -> None:
    """A skipped confirmation confirms nothing, so the failure stands."""
    together = meeting_act(2, status=1 << 8)
    concurrent_run.acts = {"a": [together, SKIP], "b": Act(on_go=together.on_go)}

    assert concurrent_run.outcomes(*map(scenario, "ab"))["a"] is Outcome.FAIL


def test_failure_in_isolation_is_not_rerun(concurrent_run: Run) -> None:
    """A failure without concurrent scenarios needs no confirmation, with any number of jobs."""
    concurrent_run.acts = {"a": FAIL}
    (result,) = concurrent_run.execute(scenario("a"))

    assert len(result.attempts) == 1
    assert result.attempts[0].alone
    assert concurrent_run.list_events(ScenarioPostponed) == []


def test_scenarios_with_shared_lock_exclude_each_other(concurrent_run: Run) -> None:
    """Scenarios that share a lock never run at the same time, with any number of jobs."""
    busy, overlaps = Lock(), list[str]()

    def work() -> None:
        if not busy.acquire(blocking=False):
            overlaps.append("overlap")
            return
        for _ in range(50):
            os.sched_yield()
        busy.release()

    names = [f"s{number}" for number in range(20)]
    concurrent_run.acts = dict.fromkeys(names, Act(on_go=work))
    results = concurrent_run.execute(*(scenario(name, locks=["port"]) for name in names))

    assert overlaps == []
    assert all(
        result.outcome is Outcome.PASS and result.reported_attempt.alone for result in results
    )


def test_scenarios_with_different_locks_run_concurrently(concurrent_run: Run) -> None:
    """A lock excludes only the scenarios that name it."""
    together = meeting_act(3)
    concurrent_run.acts = dict.fromkeys("abc", together)
    locked = [scenario("a", locks=["x"]), scenario("b", locks=["y"]), scenario("c")]

    assert set(concurrent_run.outcomes(*locked).values()) == {Outcome.PASS}


def test_locks_in_any_order_do_not_deadlock(concurrent_run: Run) -> None:
    """Scenarios that name the same locks in opposite orders, or twice, all finish."""
    orders = (["x", "y"], ["y", "x"], ["y", "z", "x"], ["x", "x"])
    several = [scenario(f"s{number}", locks=orders[number % 4]) for number in range(24)]

    assert set(concurrent_run.outcomes(*several).values()) == {Outcome.PASS}


def test_missing_requirement_skips_without_sandbox(run: Run) -> None:
    """Missing requirements are reported, and cause neither a sandbox nor a retry."""
    lacking = scenario("a", requires={"commands": ["gone"], "env": ["GONE"]}, retries=3)
    (result,) = run.execute(lacking)

    assert result.outcome is Outcome.SKIP
    assert result.reported_attempt.reason == "command 'gone' not found; variable GONE not set"
    assert len(result.attempts) == 1
    assert run.list_sandboxes() == []
    assert run.list_events(ScenarioStarted) == []
    assert run.list_finished() == ["a"]


def test_broken_engine_is_error_of_its_scenario(run: Run) -> None:
    """An engine that breaks during a scenario is reported for it, and the run continues."""
    run.acts = {
        "refused": Act(refuses="no space left"),
        "died": Act(dies_at=b"g"),
        "other": Act(version="999"),
    }
    results = run.execute(*map(scenario, ["refused", "died", "other", "fine"]))

    assert [result.outcome for result in results] == [*[Outcome.ERROR] * 3, Outcome.PASS]
    assert [result.is_infrastructure for result in results] == [True, True, True, False]
    assert results[0].reported_attempt.reason == "no space left"


def test_deadline_is_that_of_scenario(run: Run) -> None:
    """A script that does not end is a TIMEOUT, after SIGTERM and SIGKILL."""
    run.acts = {"a": Act(status=None, ignores_term=True)}
    (result,) = run.execute(scenario("a").change(timeout_seconds=0))

    assert result.outcome is Outcome.TIMEOUT
    assert result.reported_attempt.ending == TimedOut(0)
    assert [kind for _, kind in run.engine.commands] == [b"g", b"t", b"k", b"u"]


@pytest.mark.parametrize(
    ("policy", "manifest", "outcome"),
    [
        (None, "fail", Outcome.LEAK),
        (None, "report", Outcome.PASS),
        ("fail", "report", Outcome.LEAK),
        ("report", "fail", Outcome.PASS),
    ],
)
def test_leak_policy_of_run_has_precedence(
    run: Run, policy: object, manifest: str, outcome: Outcome
) -> None:
    """The run's policy overrides the manifest's; a leak is reported in any case."""
    run.acts = {"a": LEAK}
    run.policy = {None: Policy(), "fail": Policy(leaks="fail"), "report": Policy(leaks="report")}[
        policy if isinstance(policy, str) else None
    ]
    (result,) = run.execute(scenario("a", leaks=manifest))

    assert result.outcome is outcome
    assert [leak.command_line for leak in result.reported_attempt.leaks] == ["sleep 9"]


def test_allowed_survivor_is_tolerated(run: Run) -> None:
    """A survivor that the manifest allows is reported with its reason, and does not block."""
    run.acts = {"a": LEAK}
    allow = {"command": "^sleep", "reason": "It ends by itself."}
    (result,) = run.execute(scenario("a", leaks={"allow": [allow]}))

    assert result.outcome is Outcome.PASS
    assert [survivor.reason for survivor in result.reported_attempt.verdict.tolerated] == [
        "It ends by itself."
    ]


def test_result_has_owners_and_assertion(run: Run) -> None:
    """Owners and assertion of the manifest are part of the result."""
    (result,) = run.execute(scenario("a", owners=["fix-a"], assertion="It holds."))

    assert (result.owners, result.assertion) == (("fix-a",), "It holds.")


def test_every_scenario_is_finished_once(concurrent_run: Run) -> None:
    """Each scenario is reported as finished once, with its final result."""
    concurrent_run.acts = {
        "b": FAIL,
        "c": [FAIL, PASS],
        "d": SKIP,
        "e": Act(refuses="no"),
        "f": LEAK,
    }
    results = concurrent_run.execute(*map(scenario, "abcdefgh"))
    finished = [
        event.result for event in concurrent_run.events if isinstance(event, ScenarioFinished)
    ]

    assert Counter(result.name for result in finished) == Counter("abcdefgh")
    assert sorted(finished, key=lambda result: result.name) == list(results)


TOLERATED = {"leaks": {"allow": [{"command": "^sleep", "reason": "Known."}]}}

EVIDENCE: dict[str, tuple[Act, Mapping[str, object]]] = {
    "pass": (PASS, {}),
    "skip": (SKIP, {}),
    "allowed leak": (LEAK, TOLERATED),
    "leak": (LEAK, {}),
    "leak of a skip": (replace(LEAK, status=77 << 8), {}),
    "failure": (FAIL, {}),
    "deadline": (Act(status=None), {"timeout_seconds": 1}),
    "broken keeper": (Act(dies_at=b"g"), {}),
}


@pytest.mark.parametrize("policy", ["failed", "always", "never"])
@pytest.mark.parametrize(("act", "keys"), EVIDENCE.values(), ids=EVIDENCE)
def test_evidence_is_collected_by_policy(
    run: Run, act: Act, keys: Mapping[str, object], policy: Literal["failed", "always", "never"]
) -> None:
    """By default only blocking attempts have evidence; with other policies all or none have it."""
    run.acts, run.policy = {"a": act}, Policy(evidence=policy)
    (result,) = run.execute(scenario("a", **keys))
    expected = {"failed": result.outcome.blocks, "always": True, "never": False}[policy]

    assert (result.reported_attempt.evidence is not None) is expected


def test_interrupted_scenario_has_no_evidence(run: Run) -> None:
    """An interrupt does not wait for evidence."""
    run.acts = {"a": Act(on_go=lambda: run.interrupt.raise_for("SIGINT"), status=None)}
    run.policy = Policy(evidence="always")
    (result,) = run.execute(scenario("a"))

    assert (result.outcome, result.reported_attempt.evidence) == (Outcome.NOT_RUN, None)


def test_time_waiting_for_lock_is_recorded(concurrent_run: Run) -> None:
    """A scenario waits at least as long as the lock is held; the wait is in no phase."""
    first, second = sorted(
        (
            result.reported_attempt
            for result in concurrent_run.execute(
                scenario("a", locks=["x"]), scenario("b", locks=["x"])
            )
        ),
        key=lambda attempt: attempt.begun,
    )

    assert second.waited >= first.seconds
    assert second.waited - first.waited == pytest.approx(second.begun - first.begun, abs=0.05)
    assert "wait" not in second.phases


def test_retry_waits_only_since_previous_attempt(run: Run) -> None:
    """The duration of the previous attempt does not count as waiting."""
    run.acts = {"a": [FAIL, PASS]}
    (result,) = run.execute(scenario("a", retries=1))
    first, second = result.attempts

    assert second.waited <= second.begun - first.begun - first.seconds
