"""The order in which scenarios get their turn (pure): the longest first, and room for some."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from isosmoke.dataclass import dataclass
from isosmoke.execution.concurrency.slots import Slots
from isosmoke.history.experience import Experience
from isosmoke.manifest.models import Scenario
from isosmoke.results.machine_load import is_about_capacity
from isosmoke.results.run_results import Attempt, ScenarioResult

QUIET_SLOTS = Slots.fixed(16)
"""The slots of quiet company, which together stand for `QUIET_SHARE` of the CPUs."""

QUIET_SHARE = 0.25
"""The share of the CPUs that confirmations in company may use together, by their last attempts."""

_SHORT_SECONDS = 1.0
"""The duration below which a confirmation in company would save little, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A scenario that waits for its turn or runs, with the number of slots that it takes.

    `number` is its place among the scenarios of the run. With `needs_room`, few others run at the
    same time.
    """

    number: int
    scenario: Scenario
    slots: float = 1.0
    needs_room: bool = False


def plan_turns(
    scenarios: Sequence[Scenario], experience: Experience, *, in_order: bool = False
) -> tuple[Turn, ...]:
    """Return the turns of scenarios: those that need room, then the longest first.

    Scenarios that need room come first because few slots are in use at the start. Equal estimates
    leave the order as it is, and so does `in_order`.
    """
    turns = (
        Turn(
            number=number,
            scenario=scenario,
            slots=scenario.weight,
            needs_room=experience.needs_room(scenario.name),
        )
        for number, scenario in enumerate(scenarios)
    )
    if in_order:
        return tuple(turns)
    estimates = estimate_seconds(scenarios, experience.seconds)
    return tuple(
        sorted(turns, key=lambda turn: (not turn.needs_room, -estimates[turn.scenario.name]))
    )


def plan_quiet_turns(results: Mapping[int, ScenarioResult], cores: float) -> tuple[Turn, ...]:
    """Return the turns of postponed results that may be confirmed in company, the longest first.

    The company is quiet: all doubts are about capacity, and the last attempts show that the CPUs
    will be idle for most of the time. `cores` is the number of CPUs.
    """
    quiet = (
        (result.attempts[-1].seconds, Turn(number=number, scenario=result.scenario, slots=slots))
        for number, result in _list_postponed(results)
        if (slots := _count_quiet_slots(result.attempts[-1], cores)) is not None
    )
    return tuple(turn for _, turn in sorted(quiet, key=lambda pair: -pair[0]))


def plan_single_turns(results: Mapping[int, ScenarioResult]) -> tuple[Turn, ...]:
    """Return the turns of all postponed results, in order."""
    return tuple(
        Turn(number=number, scenario=result.scenario) for number, result in _list_postponed(results)
    )


def _list_postponed(results: Mapping[int, ScenarioResult]) -> Iterator[tuple[int, ScenarioResult]]:
    for number in sorted(results):
        if results[number].attempts[-1].postponed:
            yield number, results[number]


def _count_quiet_slots(attempt: Attempt, cores: float) -> float | None:
    """Return the quiet slots of a scenario by its last attempt; None if it has to run alone."""
    usage = attempt.evidence and attempt.evidence.usage
    if not usage or attempt.seconds < _SHORT_SECONDS or not is_about_capacity(attempt.doubts):
        return None
    busy = (usage.user_seconds + usage.system_seconds) / attempt.seconds
    slots = QUIET_SLOTS.number * busy / (QUIET_SHARE * cores)
    return max(1.0, slots) if slots <= QUIET_SLOTS.number else None


def estimate_seconds(
    scenarios: Sequence[Scenario], known: Mapping[str, float]
) -> Mapping[str, float]:
    """Return the expected duration of each scenario in seconds.

    A new scenario is expected to take the median of its siblings: those in the same directory with
    a common tag or owner, else in the same directory, else with a common tag or owner, else all.
    Without any, all are equal.
    """
    groups: dict[tuple[str, ...], list[float]] = {}
    for scenario in scenarios:
        if scenario.name in known:
            for group in _list_groups(scenario):
                groups.setdefault(group, []).append(known[scenario.name])
    medians = {group: sorted(seconds)[len(seconds) // 2] for group, seconds in groups.items()}
    return {
        scenario.name: known[scenario.name]
        if scenario.name in known
        else next((medians[group] for group in _list_groups(scenario) if group in medians), 0.0)
        for scenario in scenarios
    }


def _list_groups(scenario: Scenario) -> Iterator[tuple[str, ...]]:
    """Yield the groups of siblings to which a scenario belongs, the closest first."""
    directory, labels = str(scenario.script_path.parent), (*scenario.tags, *scenario.owners)
    yield from (("directory", directory, "label", label) for label in labels)
    yield ("directory", directory)
    yield from (("label", label) for label in labels)
    yield ()


def pick_next(waiting: Sequence[Turn], running: Collection[Turn], slots: Slots) -> int | None:
    """Return the index of the turn that may start now; None if all have to wait.

    A turn whose lock is taken lets others pass. One that only needs more slots does not: otherwise
    one with a large weight might wait until the end.
    """
    taken = {name for turn in running for name in turn.scenario.locks}
    for index, turn in enumerate(waiting):
        if taken.isdisjoint(turn.scenario.locks):
            return index if _fits(turn, running, slots) else None
    return None


def _fits(turn: Turn, running: Collection[Turn], slots: Slots) -> bool:
    """Return whether there are slots for a turn; one that needs more than all runs by itself."""
    together = (*running, turn)
    has_roomy = any(other.needs_room for other in together)
    limit = min(slots.number, slots.roomy) if has_roomy else slots.number
    return not running or sum(other.slots for other in together) <= limit
