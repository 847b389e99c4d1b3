"""Sections about several scenarios: the slowest, groups of leaks, what is flaky."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from isosmoke.dataclass import dataclass
from isosmoke.reports.html.supplement import Supplement, find_usual_seconds, is_flaky
from isosmoke.results.outcome import Outcome, count, describe_counts, sort_counts
from isosmoke.results.run_record import RunRecord, ScenarioRecord
from isosmoke.text import truncate

_SLOWEST = 15
_FEWEST = 3
_MAX_GROUPS = 30
_MAX_NAMES = 30
_VARYING = re.compile(r"\d+|(?<=/)tmp\.\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """One of the slowest scenarios: `share` is relative to the slowest, in percent.

    `usual` and `limit` are texts that may be empty: its usual time, and the used part of its
    timeout.
    """

    name: str
    outcome: Outcome
    seconds: str
    share: str
    usual: str
    limit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakGroup:
    """Leaked processes with equal commands: their number and the scenarios that left them."""

    command: str
    processes: int
    scenarios: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaky:
    """A scenario that passed and failed with the same binary and script."""

    name: str
    outcome: Outcome
    reason: str
    counts: str


def list_slowest(run: RunRecord, supplement: Supplement) -> tuple[Slow, ...]:
    """Return the scenarios that took the longest, the slowest first; of one or two, none."""
    tried = sorted(run.scenarios, key=lambda scenario: -scenario.seconds)[:_SLOWEST]
    tried = [scenario for scenario in tried if scenario.seconds > 0]
    if len(tried) < _FEWEST:
        return ()
    return tuple(_describe_slow(item, tried[0].seconds, supplement) for item in tried)


def _describe_slow(scenario: ScenarioRecord, longest: float, supplement: Supplement) -> Slow:
    usual = find_usual_seconds(scenario, supplement)
    timeout = scenario.entry.get("timeout_seconds")
    scripts = [attempt.phases.get("run", 0.0) for attempt in scenario.attempts]
    return Slow(
        name=scenario.name,
        outcome=scenario.outcome,
        seconds=f"{scenario.seconds:.2f}",
        share=f"{100 * scenario.seconds / longest:.1f}%",
        usual="" if usual is None else f"{usual:.2f}",
        limit=f"{100 * max(scripts) / timeout:.0f}%" if timeout else "",
    )


def list_leak_groups(run: RunRecord) -> tuple[LeakGroup, ...]:
    """Return the groups of leaked processes, the largest first; numbers do not distinguish them."""
    examples: dict[str, str] = {}
    names: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for scenario in run.scenarios:
        for leak in scenario.leaks:
            command = leak.process.command_line
            key = _VARYING.sub("…", command)
            examples.setdefault(key, command)
            names[key][scenario.name] += 1
    keys = sorted(names, key=lambda key: (-len(names[key]), key))[:_MAX_GROUPS]
    return tuple(
        LeakGroup(
            command=truncate(examples[key] if len(names[key]) == 1 else key),
            processes=names[key].total(),
            scenarios=len(names[key]),
            names=tuple(names[key])[:_MAX_NAMES],
        )
        for key in keys
    )


def list_flaky(run: RunRecord, supplement: Supplement) -> Iterator[Flaky]:
    """Yield the scenarios that passed and failed with the same binary and script."""
    for scenario in run.scenarios:
        if is_flaky(run, scenario, supplement):
            outcomes = [item.outcome for item in supplement.get_past(scenario)]
            counts = describe_counts(sort_counts(count([*outcomes, scenario.outcome])))
            yield Flaky(
                name=scenario.name,
                outcome=scenario.outcome,
                reason=truncate(scenario.reason),
                counts=f"{counts} in {len(outcomes) + 1} runs" if outcomes else "",
            )
