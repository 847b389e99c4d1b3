"""The order of turns, the estimates, and what may run at the same time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from isosmoke.execution.concurrency import start_order
from isosmoke.execution.concurrency.slots import Slots
from isosmoke.execution.concurrency.start_order import Turn, pick_next
from isosmoke.history.experience import Experience, PastScenario
from isosmoke.manifest.models import Scenario
from isosmoke.results.evidence import Evidence
from isosmoke.results.machine_load import Doubt
from isosmoke.results.outcome import Exited
from isosmoke.results.run_results import Attempt, ScenarioResult
from isosmoke.sandbox.survivors import Usage

CPU = Doubt(kind="cpu", text="it waited")
PORT = Doubt(kind="network", text="another listened")


def scenario(name: str, script: str = "a/x.sh", **keys: Any) -> Scenario:
    """Return a scenario of this name."""
    entry = {"name": name, "script": script, **keys}
    return Scenario.validate(entry).place(Path("/p"))


def experience(**pasts: float | PastScenario) -> Experience:
    """Return the experience with these durations or pasts."""
    return Experience(
        {
            name: past if isinstance(past, PastScenario) else PastScenario(seconds=past)
            for name, past in pasts.items()
        }
    )


def list_names(planned: Sequence[Turn]) -> str:
    """Return the names of turns, in order."""
    return "".join(turn.scenario.name for turn in planned)


def postponed(
    name: str, *doubts: Doubt, busy: float | None = 0.1, seconds: float = 10.0
) -> ScenarioResult:
    """Return a failure to confirm, whose processes used `busy` CPUs on average."""
    usage = None if busy is None else Usage(busy * seconds, 0.0, 0)
    attempt = Attempt(
        ending=Exited(1),
        phases={"run": seconds},
        alone=False,
        postponed=True,
        doubts=doubts,
        evidence=Evidence(usage=usage),
    )
    return ScenarioResult(scenario=scenario(name), attempts=(attempt,))


def test_longest_is_first() -> None:
    """The last scenario to start should be a short one."""
    planned = start_order.plan_turns(
        [scenario("a"), scenario("b"), scenario("c")], experience(a=1.0, b=9.0, c=4.0)
    )

    assert list_names(planned) == "bca"
    assert [turn.number for turn in planned] == [1, 2, 0]


def test_order_stays_without_experience_and_on_request() -> None:
    """The manifest's order is kept if nothing is known, or one scenario runs at a time."""
    some = [scenario(name) for name in "cab"]

    assert list_names(start_order.plan_turns(some, Experience())) == "cab"
    assert list_names(start_order.plan_turns(some, experience(b=5.0), in_order=True)) == "cab"


def test_scenario_that_needs_room_is_first() -> None:
    """It starts while few others run."""
    sensitive = PastScenario(seconds=1.0, room=3)
    planned = start_order.plan_turns(
        [scenario("a"), scenario("b"), scenario("c")], experience(a=5.0, b=sensitive, c=9.0)
    )

    assert list_names(planned) == "bca"
    assert [turn.needs_room for turn in planned] == [True, False, False]


def test_new_scenario_is_estimated_from_its_closest_siblings() -> None:
    """Directory and label come before the directory, a label alone, and the whole suite."""
    known = {"a1": 10.0, "a2": 20.0, "a3": 30.0, "b1": 1.0, "b2": 2.0}
    some = [
        scenario("a1", "a/1.sh", tags=["tui"]),
        scenario("a2", "a/2.sh"),
        scenario("a3", "a/3.sh"),
        scenario("b1", "b/1.sh", owners=["fix"]),
        scenario("b2", "b/2.sh"),
        scenario("same", "a/4.sh", tags=["tui"]),
        scenario("near", "a/5.sh", tags=["other"]),
        scenario("owned", "c/6.sh", owners=["fix"]),
        scenario("far", "c/7.sh"),
    ]
    estimates = start_order.estimate_seconds(some, known)

    assert estimates["same"] == 10.0
    assert estimates["near"] == 20.0
    assert estimates["owned"] == 1.0
    assert estimates["far"] == 10.0
    assert estimates["a3"] == 30.0


def turn(name: str, slots: float = 1.0, *, room: bool = False, **keys: Any) -> Turn:
    """Return a turn."""
    return Turn(number=0, scenario=scenario(name, **keys), slots=slots, needs_room=room)


def test_weight_counts_as_several_scenarios() -> None:
    """Two of weight 2 fill four slots."""
    running = [turn("a", 2.0), turn("b", 2.0)]

    assert pick_next([turn("c")], running, Slots.fixed(4)) is None
    assert pick_next([turn("c")], running[:1], Slots.fixed(4)) == 0
    assert [
        turn.slots for turn in start_order.plan_turns([scenario("a", weight=3)], Experience())
    ] == [3]


def test_heavy_scenario_is_not_passed_by_light_ones() -> None:
    """If it only needs slots, those that end are kept for it; so it cannot wait for ever."""
    assert pick_next([turn("heavy", 3.0), turn("light")], [turn("a")], Slots.fixed(3)) is None


def test_scenario_heavier_than_all_slots_runs_by_itself() -> None:
    """A weight above the number of slots means alone."""
    assert pick_next([turn("heavy", 9.0)], [], Slots.fixed(3)) == 0
    assert pick_next([turn("a")], [turn("heavy", 9.0)], Slots.fixed(3)) is None


def test_taken_lock_lets_others_pass() -> None:
    """A scenario that waits for a lock keeps no slot."""
    waiting = [turn("b", locks=["x"]), turn("c", locks=["y"])]

    assert pick_next(waiting, [turn("a", locks=["x", "z"])], Slots.fixed(3)) == 1
    assert pick_next(waiting, [], Slots.fixed(3)) == 0


def test_scenario_with_room_has_few_neighbours() -> None:
    """While it runs, and to start it, no more than one scenario per CPU runs."""
    slots = Slots.adaptive(2.0)
    sensitive = turn("s", room=True)

    assert pick_next([turn("b")], [sensitive], slots) == 0
    assert pick_next([turn("c")], [sensitive, turn("b")], slots) is None
    assert pick_next([sensitive], [turn("a"), turn("b")], slots) is None
    assert pick_next([turn("c")], [turn("a"), turn("b")], slots) == 0


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.booleans(), st.lists(st.sampled_from("xyz"), max_size=2)),
        max_size=12,
    ),
    st.integers(1, 8),
)
def test_everything_runs_in_the_end(items: list[tuple[int, bool, list[str]]], number: int) -> None:
    """No combination of weights, room and locks blocks the queue, or exceeds the slots."""
    waiting = [
        turn(f"s{index}", float(weight), room=room, locks=locks)
        for index, (weight, room, locks) in enumerate(items)
    ]
    running: list[Turn] = []
    while waiting or running:
        while (index := pick_next(waiting, running, Slots.fixed(number))) is not None:
            running.append(waiting.pop(index))
        assert running
        locks = [name for turn in running for name in set(turn.scenario.locks)]
        assert len(locks) == len(set(locks))
        assert len(running) == 1 or sum(turn.slots for turn in running) <= number
        running.pop(0)


def test_waiting_scenarios_are_confirmed_together() -> None:
    """Doubts about capacity alone can be removed in company that leaves the CPUs idle."""
    results = {
        0: postponed("a", CPU, busy=0.02, seconds=5.0),
        1: postponed("b", CPU, PORT),
        2: postponed("c", CPU, busy=0.02, seconds=30.0),
        3: postponed("d", CPU, busy=0.9),
        4: postponed("e", CPU, busy=None),
        5: postponed("f", CPU, seconds=0.5),
    }

    assert list_names(start_order.plan_quiet_turns(results, 2.0)) == "ca"
    assert list_names(start_order.plan_single_turns(results)) == "abcdef"


def test_quiet_company_leaves_three_quarters_of_the_cpus() -> None:
    """The slots of quiet turns stand for the CPU time that the last attempts used."""
    results = {number: postponed(name, CPU, busy=0.2) for number, name in enumerate("abcd")}
    planned = start_order.plan_quiet_turns(results, 2.0)

    assert pick_next(planned[1:], planned[:1], start_order.QUIET_SLOTS) == 0
    assert pick_next(planned[2:], planned[:2], start_order.QUIET_SLOTS) is None


def test_final_results_get_no_further_turn() -> None:
    """Only a postponed failure is confirmed."""
    final = ScenarioResult(scenario=scenario("a"), attempts=(Attempt(ending=Exited(1)),))

    assert start_order.plan_quiet_turns({0: final}, 2.0) == ()
    assert start_order.plan_single_turns({0: final}) == ()
