"""Many scenarios: order, fail-fast, interrupts, retries, confirmation, locks and requirements."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Barrier, Lock
from typing import Literal

import pytest

from isosmoke.execution.attempt import AttemptRunner
from isosmoke.execution.requirements import Requirements
from isosmoke.execution.scheduler import Policy, Scheduler
from isosmoke.host.caller_process import Caller
from isosmoke.host.workspace_directories import Workspace
from isosmoke.interrupt import Interrupt
from isosmoke.keeper.protocol import Output
from isosmoke.manifest.models import Scenario
from isosmoke.results.events import Event, ScenarioFinished, ScenarioPostponed, ScenarioStarted
from isosmoke.results.outcome import Exited, Outcome, TimedOut
from isosmoke.results.run_results import ScenarioResult
from isosmoke.runner.job_builder import RunContext
from isosmoke.testing import Act, FakeEngine, survivor

PASS, FAIL, SKIP = Act(), Act(status=1 << 8), Act(status=77 << 8)
LEAK = Act(survivors=[survivor(7, ["sleep", "9"])])
PATIENCE = 60


def meeting(number: int, status: int = 0) -> Act:
    """An act during which as many scenarios are going on at the same time."""
    return Act(on_go=Barrier(number, timeout=PATIENCE).wait, status=status)


def scenario(name: str, **keys: object) -> Scenario:
    """A scenario of this name that settles at once."""
    one = {"name": name, "script": f"{name}.sh", "settle_seconds": 0, "grace_seconds": 0, **keys}
    return Scenario.model_validate(one, context=Path("/scenarios"))


@dataclass(slots=True)
class Run:
    """One schedule over a fake engine, and all that it told."""

    record: Path
    acts: Mapping[str, Act | Sequence[Act]] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": ""})
    argv: tuple[str, ...] = ()
    interrupt: Interrupt = field(default_factory=Interrupt)
    events: list[Event] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)
    engine: FakeEngine = field(default_factory=FakeEngine)

    def of(self, *scenarios: Scenario) -> tuple[ScenarioResult, ...]:
        """The results of these scenarios."""
        self.engine = FakeEngine(self.acts)
        attempts = AttemptRunner(
            engine_for=lambda _: self.engine,
            context=self._context(),
            requirements=Requirements(self.environment, has_binary=False),
            record=self.record,
            interrupt=self.interrupt,
            leaks=self.policy.leaks,
            evidence=self.policy.evidence,
            on_output=self.heard.append,
        )
        scheduler = Scheduler(
            scenarios=scenarios,
            attempts=attempts,
            policy=self.policy,
            notify=self.events.append,
            interrupt=self.interrupt,
            argv=self.argv,
        )
        return scheduler.run()

    def outcomes(self, *scenarios: Scenario) -> dict[str, Outcome]:
        """The outcome of each scenario, in the order of the results."""
        return {one.name: one.outcome for one in self.of(*scenarios)}

    def told(self, kind: type[ScenarioStarted | ScenarioPostponed]) -> list[str]:
        """The scenarios of the events of one kind, in order."""
        return [one.name for one in self.events if isinstance(one, kind)]

    def finished(self) -> list[str]:
        """The scenarios that were told to be finished, in order."""
        return [one.result.name for one in self.events if isinstance(one, ScenarioFinished)]

    def made(self) -> list[str]:
        """The scenarios that got a sandbox, in order."""
        return [one.label for one in self.engine.made]

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
    """A run, one scenario at a time."""
    return Run(tmp_path)


@pytest.fixture
def crowd(tmp_path: Path) -> Run:
    """A run of several scenarios at a time."""
    return Run(tmp_path, policy=Policy(jobs=4))


def test_results_are_in_the_order_given(crowd: Run) -> None:
    """Whichever ends first, the results come in the order of the manifest, one for each."""
    names = [f"s{number}" for number in (3, 1, 2, 0, 9, 7, 8)]
    crowd.acts = {"s1": FAIL, "s9": SKIP, "s7": LEAK}
    outcomes = crowd.outcomes(*map(scenario, names))

    assert list(outcomes) == names
    assert [outcomes[name] for name in ("s3", "s1", "s9", "s7")] == [
        *(Outcome.PASS, Outcome.FAIL, Outcome.SKIP, Outcome.LEAK)
    ]


def test_one_job_runs_in_order(run: Run) -> None:
    """With one job each scenario is over before the next one starts."""
    names = ["b", "a", "c"]
    run.of(*map(scenario, names))

    assert run.made() == names
    assert [type(one) for one in run.events] == [ScenarioStarted, ScenarioFinished] * 3
    assert run.finished() == names


def test_jobs_run_at_the_same_time(crowd: Run) -> None:
    """As many scenarios as there are jobs go on together."""
    together = meeting(4)
    crowd.acts = dict.fromkeys("abcd", together)

    assert set(crowd.outcomes(*map(scenario, "abcd")).values()) == {Outcome.PASS}


def test_no_scenario_is_no_result(run: Run) -> None:
    """An empty selection is no error here; whoever selects must not let it happen."""
    assert run.of() == ()


def test_fail_fast_starts_nothing_after_a_failure(run: Run) -> None:
    """Once a scenario failed the rest is NOT_RUN, with the reason, and gets no sandbox."""
    run.acts = {"b": FAIL}
    run.policy = Policy(fail_fast=True)
    results = run.of(*map(scenario, "abcd"))

    assert [one.outcome for one in results] == [
        *(Outcome.PASS, Outcome.FAIL, Outcome.NOT_RUN, Outcome.NOT_RUN)
    ]
    assert results[2].telling.reason == "an earlier scenario failed"
    assert run.made() == ["a", "b"]
    assert run.finished() == list("abcd")


@pytest.mark.parametrize("act", [PASS, SKIP], ids=["pass", "skip"])
def test_fail_fast_goes_on_after_what_does_not_block(run: Run, act: Act) -> None:
    """A pass or a skip stops nothing."""
    run.acts = {"a": act}
    run.policy = Policy(fail_fast=True)

    assert run.outcomes(*map(scenario, "ab"))["b"] is Outcome.PASS


def test_failure_without_fail_fast_stops_nothing(run: Run) -> None:
    """By default every scenario is run, whatever came before it."""
    run.acts = {"a": FAIL, "b": Act(refuses="no daemon")}

    assert list(run.outcomes(*map(scenario, "abc")).values()) == [
        *(Outcome.FAIL, Outcome.ERROR, Outcome.PASS)
    ]


def test_interrupt_makes_the_rest_not_run(run: Run) -> None:
    """An interrupt ends the scenario at hand and starts no other; each is told once."""
    run.acts = {"b": Act(on_go=lambda: run.interrupt.raise_for("SIGTERM"), status=None)}
    results = run.of(*map(scenario, "abcd"))

    assert [one.outcome for one in results] == [Outcome.PASS, *[Outcome.NOT_RUN] * 3]
    assert {one.telling.reason for one in results[1:]} == {"SIGTERM"}
    assert run.made() == ["a", "b"]
    assert run.engine.destroyed == run.engine.made
    assert run.finished() == list("abcd")


def test_interrupt_among_several_is_told_once_for_each(crowd: Run) -> None:
    """Scenarios that an interrupt ends side by side are finished once each, and not tried again."""
    barrier = Barrier(4, action=lambda: crowd.interrupt.raise_for("SIGINT"), timeout=PATIENCE)
    crowd.acts = dict.fromkeys("abcd", Act(on_go=barrier.wait, status=None))
    outcomes = crowd.outcomes(*map(scenario, "abcdef"))

    assert set(outcomes.values()) == {Outcome.NOT_RUN}
    assert sorted(crowd.finished()) == list("abcdef")
    assert sorted(crowd.made()) == list("abcd")
    assert crowd.told(ScenarioPostponed) == []


def test_interrupt_before_the_start_runs_nothing(run: Run) -> None:
    """A run that is interrupted before it begins makes no sandbox."""
    run.interrupt.raise_for("SIGINT")

    assert set(run.outcomes(*map(scenario, "ab")).values()) == {Outcome.NOT_RUN}
    assert run.made() == []


def test_interrupt_ends_the_retries(run: Run) -> None:
    """What an interrupt ended is not tried again, however many retries there are."""
    run.acts = {"a": Act(on_go=lambda: run.interrupt.raise_for("SIGINT"), status=None)}
    (result,) = run.of(scenario("a", retries=5))

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
def test_retries_end_with_the_first_that_does_not_block(
    run: Run, acts: list[Act], retries: int, expected: tuple[Outcome, int]
) -> None:
    """A scenario is tried while it fails and retries are left; a pass after that is FLAKY."""
    run.acts = {"a": acts}
    (result,) = run.of(scenario("a", retries=retries))

    assert (result.outcome, len(result.attempts)) == expected
    assert not result.load_sensitive
    assert run.told(ScenarioStarted) == ["a"] * len(result.attempts)
    assert run.finished() == ["a"]


def test_each_attempt_has_a_log_and_a_sandbox_of_its_own(run: Run) -> None:
    """What every attempt printed is kept, each in its own file under the scenario's name."""
    said = [Act(status=1 << 8, output=[Output("stdout", b"first")]), Act(output=[])]
    run.acts = {"a": said}
    (result,) = run.of(scenario("a", retries=1))

    assert [one.log for one in result.attempts] == [
        run.record / "a/output-1.log",
        run.record / "a/output-2.log",
    ]
    assert (run.record / "a/output-1.log").read_bytes() == b"first"
    assert (run.record / "a/output-2.log").read_bytes() == b""
    assert run.heard == [b"first"]
    assert run.engine.destroyed == run.engine.made
    assert len(run.engine.made) == 2


def test_failure_beside_others_that_passes_alone_is_load_sensitive(crowd: Run) -> None:
    """What failed in a crowd and then passes alone does not block, and both are shown."""
    together = meeting(2, status=1 << 8)
    crowd.acts = {"a": [together, PASS], "b": [together, PASS]}
    results = crowd.of(*map(scenario, "ab"))

    for result in results:
        assert result.outcome is Outcome.FLAKY
        assert result.load_sensitive
        assert [one.alone for one in result.attempts] == [False, True]
        assert result.telling.ending == Exited(1)
    assert sorted(crowd.told(ScenarioPostponed)) == ["a", "b"]
    assert crowd.finished() == ["a", "b"]
    assert crowd.made()[2:] == ["a", "b"]


def test_failure_beside_others_that_fails_alone_counts(crowd: Run) -> None:
    """What fails again alone is a failure, found twice."""
    together = meeting(2, status=1 << 8)
    crowd.acts = {"a": [together, FAIL], "b": [Act(on_go=together.on_go), PASS]}
    failed, passed = crowd.of(*map(scenario, "ab"))

    assert failed.outcome is Outcome.FAIL
    assert not failed.load_sensitive
    assert [one.alone for one in failed.attempts] == [False, True]
    assert passed.outcome is Outcome.PASS
    assert len(passed.attempts) == 1


def test_skip_alone_does_not_undo_a_failure_beside_others(crowd: Run) -> None:
    """A confirmation that was skipped confirms nothing, so the failure stands."""
    together = meeting(2, status=1 << 8)
    crowd.acts = {"a": [together, SKIP], "b": Act(on_go=together.on_go)}

    assert crowd.outcomes(*map(scenario, "ab"))["a"] is Outcome.FAIL


def test_failure_alone_is_not_run_again(crowd: Run) -> None:
    """What failed with nothing beside it is confirmed by that, with any number of jobs."""
    crowd.acts = {"a": FAIL}
    (result,) = crowd.of(scenario("a"))

    assert len(result.attempts) == 1
    assert result.attempts[0].alone
    assert crowd.told(ScenarioPostponed) == []


def test_scenarios_with_a_lock_in_common_exclude_each_other(crowd: Run) -> None:
    """Scenarios that share a lock are never on at the same time, however many jobs there are."""
    busy, overlaps = Lock(), list[str]()

    def work() -> None:
        if not busy.acquire(blocking=False):
            overlaps.append("two at once")
            return
        for _ in range(50):
            os.sched_yield()
        busy.release()

    names = [f"s{number}" for number in range(20)]
    crowd.acts = dict.fromkeys(names, Act(on_go=work))
    results = crowd.of(*(scenario(name, locks=["port"]) for name in names))

    assert overlaps == []
    assert all(one.outcome is Outcome.PASS and one.telling.alone for one in results)


def test_scenarios_with_other_locks_go_on_together(crowd: Run) -> None:
    """A lock keeps out only those that name it."""
    together = meeting(3)
    crowd.acts = dict.fromkeys("abc", together)
    locked = [scenario("a", locks=["x"]), scenario("b", locks=["y"]), scenario("c")]

    assert set(crowd.outcomes(*locked).values()) == {Outcome.PASS}


def test_locks_in_any_order_do_not_deadlock(crowd: Run) -> None:
    """Scenarios that name the same locks in opposite orders, or twice, all come to their end."""
    orders = (["x", "y"], ["y", "x"], ["y", "z", "x"], ["x", "x"])
    several = [scenario(f"s{number}", locks=orders[number % 4]) for number in range(24)]

    assert set(crowd.outcomes(*several).values()) == {Outcome.PASS}


def test_unmet_requirement_skips_without_a_sandbox(run: Run) -> None:
    """What a scenario lacks is told, and neither a sandbox nor a retry is spent on it."""
    lacking = scenario("a", requires={"commands": ["gone"], "env": ["GONE"]}, retries=3)
    (result,) = run.of(lacking)

    assert result.outcome is Outcome.SKIP
    assert result.telling.reason == "command 'gone' not found; variable GONE not set"
    assert len(result.attempts) == 1
    assert run.made() == []
    assert run.told(ScenarioStarted) == []
    assert run.finished() == ["a"]


def test_broken_engine_is_an_error_of_that_scenario(run: Run) -> None:
    """An engine that breaks in the middle is told for that scenario, and the run goes on."""
    run.acts = {
        "refused": Act(refuses="no space left"),
        "died": Act(dies_at=b"g"),
        "other": Act(version="999"),
    }
    results = run.of(*map(scenario, ["refused", "died", "other", "fine"]))

    assert [one.outcome for one in results] == [*[Outcome.ERROR] * 3, Outcome.PASS]
    assert [one.infrastructure for one in results] == [True, True, True, False]
    assert results[0].telling.reason == "no space left"


def test_deadline_is_the_scenarios(run: Run) -> None:
    """A script that does not end is a TIMEOUT, asked to end and then ended."""
    run.acts = {"a": Act(status=None, ignores_term=True)}
    (result,) = run.of(scenario("a").model_copy(update={"timeout_seconds": 0}))

    assert result.outcome is Outcome.TIMEOUT
    assert result.telling.ending == TimedOut(0)
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
def test_leak_policy_of_the_run_wins(
    run: Run, policy: object, manifest: str, outcome: Outcome
) -> None:
    """A leak blocks as the manifest says, unless the run says otherwise; it is told either way."""
    run.acts = {"a": LEAK}
    run.policy = {None: Policy(), "fail": Policy(leaks="fail"), "report": Policy(leaks="report")}[
        policy if isinstance(policy, str) else None
    ]
    (result,) = run.of(scenario("a", leaks=manifest))

    assert result.outcome is outcome
    assert [one.command_line for one in result.telling.leaks] == ["sleep 9"]


def test_allowed_survivor_is_tolerated(run: Run) -> None:
    """What the manifest allows to stay is told with its reason, and does not block."""
    run.acts = {"a": LEAK}
    allow = {"command": "^sleep", "reason": "It ends by itself."}
    (result,) = run.of(scenario("a", leaks={"allow": [allow]}))

    assert result.outcome is Outcome.PASS
    assert [one.reason for one in result.telling.verdict.tolerated] == ["It ends by itself."]


def test_result_carries_what_the_manifest_says(run: Run) -> None:
    """Owners and assertion reach whoever reads the result."""
    (result,) = run.of(scenario("a", owners=["fix-a"], assertion="It holds."))

    assert (result.owners, result.assertion) == (("fix-a",), "It holds.")


def test_every_scenario_is_told_exactly_once(crowd: Run) -> None:
    """Whatever comes of them, each scenario is told to be finished once, with its final result."""
    crowd.acts = {"b": FAIL, "c": [FAIL, PASS], "d": SKIP, "e": Act(refuses="no"), "f": LEAK}
    results = crowd.of(*map(scenario, "abcdefgh"))
    told = [one.result for one in crowd.events if isinstance(one, ScenarioFinished)]

    assert Counter(one.name for one in told) == Counter("abcdefgh")
    assert sorted(told, key=lambda one: one.name) == list(results)


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
def test_evidence_is_collected_of_what_blocks(
    run: Run, act: Act, keys: Mapping[str, object], policy: Literal["failed", "always", "never"]
) -> None:
    """By default an attempt that blocks has evidence and no other; else all have it, or none."""
    run.acts, run.policy = {"a": act}, Policy(evidence=policy)
    (result,) = run.of(scenario("a", **keys))
    expected = {"failed": result.outcome.blocks, "always": True, "never": False}[policy]

    assert (result.telling.evidence is not None) is expected


def test_nothing_is_collected_of_what_was_stopped(run: Run) -> None:
    """Whoever interrupts a run does not wait for evidence."""
    run.acts = {"a": Act(on_go=lambda: run.interrupt.raise_for("SIGINT"), status=None)}
    run.policy = Policy(evidence="always")
    (result,) = run.of(scenario("a"))

    assert (result.outcome, result.telling.evidence) == (Outcome.NOT_RUN, None)


def test_waiting_for_a_lock_is_told_apart(crowd: Run) -> None:
    """Who waits for a lock waited at least for as long as its holder took; that is in no phase."""
    first, second = sorted(
        (one.telling for one in crowd.of(scenario("a", locks=["x"]), scenario("b", locks=["x"]))),
        key=lambda one: one.begun,
    )

    assert second.waited >= first.seconds
    assert second.waited - first.waited == pytest.approx(second.begun - first.begun, abs=0.05)
    assert "wait" not in second.phases


def test_retry_waits_only_since_the_attempt_before(run: Run) -> None:
    """What went before is not counted as waiting."""
    run.acts = {"a": [FAIL, PASS]}
    (result,) = run.of(scenario("a", retries=1))
    first, second = result.attempts

    assert second.waited <= second.begun - first.begun - first.seconds
