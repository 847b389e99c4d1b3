"""The state of a run in progress: what runs, what ended, and an estimate of the time that is left.

All times are those of `monotonic`, in seconds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import field

from isosmoke.dataclass import dataclass
from isosmoke.results.events import (
    Event,
    RunStarted,
    ScenarioFinished,
    ScenarioPostponed,
    ScenarioRepeating,
    ScenarioStarted,
)
from isosmoke.results.outcome import Outcome

_KNOWN_SHARE = 0.5
"""The share of the scenarios whose usual time must be known for an estimate."""


@dataclass(slots=True)
class Standing:
    """The numbers of a run; `usual` has the duration of each scenario in earlier runs, if known.

    `running` has the start of each attempt in progress, and `postponed` the scenarios whose failure
    does not count yet, because it will be confirmed.
    """

    usual: Mapping[str, float] = field(default_factory=dict)
    total: int = 0
    started_at: float = 0.0
    running: dict[str, float] = field(default_factory=dict)
    postponed: set[str] = field(default_factory=set)
    counts: dict[Outcome, int] = field(default_factory=dict)
    _waiting: set[str] = field(default_factory=set)
    _most: int = 0
    _repeats: bool = False

    def note(self, event: Event, now: float) -> None:
        """Note an event that happened at `now`."""
        match event:
            case RunStarted(names):
                self.total, self.started_at, self._waiting = len(names), now, set(names)
            case ScenarioStarted(name):
                self._waiting.discard(name)
                self.running[name] = now
                self._most = max(self._most, len(self.running))
            case ScenarioRepeating(name):
                self.running.pop(name, None)
                self._repeats = True
            case ScenarioPostponed(result):
                self._waiting.discard(result.name)
                self.running.pop(result.name, None)
                self.postponed.add(result.name)
            case ScenarioFinished(result):
                self._finish(result.name, result.outcome)
            case _:
                pass

    def _finish(self, name: str, outcome: Outcome) -> None:
        self._waiting.discard(name)
        self.running.pop(name, None)
        self.postponed.discard(name)
        self.counts[outcome] = self.counts.get(outcome, 0) + 1

    @property
    def done(self) -> int:
        """The number of scenarios with an outcome."""
        return sum(self.counts.values())

    @property
    def failed(self) -> int:
        """The number of scenarios whose failure counts."""
        return sum(number for outcome, number in self.counts.items() if outcome.blocks)

    @property
    def unconfirmed(self) -> int:
        """The number of scenarios that failed and will be confirmed."""
        return len(self.postponed)

    def estimate_rest(self, now: float) -> float | None:
        """Return the expected time until the end; None if too little is known.

        Scenarios run next to each other as they did so far, and failures are confirmed alone. The
        usual time of an unknown scenario is the median of the others.
        """
        names = {*self._waiting, *self.running, *self.postponed}
        known = [self.usual[name] for name in names if name in self.usual]
        if self._repeats or not names or len(known) < _KNOWN_SHARE * len(names):
            return None
        from statistics import median

        typical = median(known)
        together = list(self._list_rests(now, typical))
        alone = sum(self._expect(name, typical) for name in self.postponed - self.running.keys())
        rest = max(sum(together) / max(1, self._most), *together, 0.0) + alone
        return rest or None

    def _list_rests(self, now: float, typical: float) -> Iterator[float]:
        """Yield what is left of each scenario that waits or runs; 0 for one that is overdue."""
        for name in self._waiting:
            yield self._expect(name, typical)
        for name, start in list(self.running.items()):
            yield max(0.0, self._expect(name, typical) - (now - start))

    def _expect(self, name: str, typical: float) -> float:
        return self.usual.get(name, typical)
