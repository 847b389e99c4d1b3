"""The results of repetitions of one scenario, and what its failures have in common (pure).

The memory that a tally needs grows by a few numbers per repetition, so that there may be millions.
"""

import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import field
from pathlib import Path
from statistics import median

from isosmoke.dataclass import dataclass
from isosmoke.results.outcome import Broke, Outcome, Stopped
from isosmoke.results.run_results import Attempt
from isosmoke.text import shorten

_VARIABLE = re.compile(r"0x[0-9a-fA-F]+|\b[0-9a-f]{8,}\b|\d+")
"""Parts of a message that differ between repetitions: addresses, hashes, numbers."""

_MAX_GROUPS = 100
_MAX_LOGS = 3
_MAX_TEXT = 300
_MIN_SAMPLE = 5
"""The number of failures from which a common time or load is stated, as fewer may be chance."""

_OTHERS = "(other failures)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition:
    """A repetition that was made.

    `number` counts from 1. `begun` is the start in seconds since the first one. `others` is the
    largest number of other repetitions that ran at the same time, and `load` the machine's load
    average over one minute at its end.
    """

    number: int
    attempt: Attempt
    begun: float
    others: int
    load: float


@dataclass(slots=True)
class Group:
    """Failures with the same outcome and reason, apart from numbers in the reason.

    `reason` is that of the first. `first` and `last` are starts in seconds, `numbers` those of the
    first repetitions and `logs` their logs.
    """

    outcome: Outcome
    reason: str
    count: int = 0
    first: float = 0.0
    last: float = 0.0
    numbers: list[int] = field(default_factory=list)
    logs: list[Path] = field(default_factory=list)


@dataclass(slots=True)
class _Samples:
    """The measurements of all passes, or of all failures."""

    seconds: "array[float]" = field(default_factory=lambda: array("d"))
    begun: "array[float]" = field(default_factory=lambda: array("d"))
    load: "array[float]" = field(default_factory=lambda: array("d"))
    others: "array[int]" = field(default_factory=lambda: array("l"))

    def add(self, repetition: Repetition) -> None:
        self.seconds.append(repetition.attempt.seconds)
        self.begun.append(repetition.begun)
        self.load.append(repetition.load)
        self.others.append(repetition.others)


@dataclass(slots=True)
class Tally:
    """The repetitions so far. `broken` counts those in which the engine failed."""

    counts: Counter[Outcome] = field(default_factory=Counter)
    skip_reason: str = ""
    broken: int = 0
    broken_in_a_row: int = 0
    broken_reason: str = ""
    leftovers: list[str] = field(default_factory=list)
    _groups: dict[tuple[Outcome, str], Group] = field(default_factory=dict)
    _passed: _Samples = field(default_factory=_Samples)
    _failed: _Samples = field(default_factory=_Samples)
    _last_lines: Counter[str] = field(default_factory=Counter)
    _leaks: Counter[str] = field(default_factory=Counter)

    def add(self, repetition: Repetition) -> bool:
        """Count a repetition; return whether its log is kept, as one of the first of its kind.

        One that an interrupt stopped is not counted.
        """
        attempt = repetition.attempt
        if isinstance(attempt.ending, Stopped):
            return False
        self.leftovers.extend(attempt.leftovers)
        if isinstance(attempt.ending, Broke):
            self.broken += 1
            self.broken_in_a_row += 1
            self.broken_reason = attempt.reason
            return False
        self.broken_in_a_row = 0
        self.counts[attempt.outcome] += 1
        if attempt.outcome.facts.is_skip:
            self.skip_reason = attempt.reason
        elif attempt.outcome.blocks:
            return self._add_failure(repetition)
        else:
            self._passed.add(repetition)
        return False

    def _add_failure(self, repetition: Repetition) -> bool:
        attempt = repetition.attempt
        self._failed.add(repetition)
        if lines := [line for line in attempt.output.last_lines(5) if line.strip()]:
            self._count(self._last_lines, _normalize(lines[-1]))
        for command in {process.command_line for process in attempt.leaks}:
            self._count(self._leaks, shorten(command, _MAX_TEXT))
        group = self._find_group(attempt)
        group.count += 1
        group.first = repetition.begun if group.count == 1 else min(group.first, repetition.begun)
        group.last = max(group.last, repetition.begun)
        is_kept = len(group.numbers) < _MAX_LOGS
        if is_kept:
            group.numbers.append(repetition.number)
            group.logs.extend([attempt.log] if attempt.log else [])
        return is_kept

    def _find_group(self, attempt: Attempt) -> Group:
        key = (attempt.outcome, _normalize(attempt.reason))
        if key not in self._groups and len(self._groups) >= _MAX_GROUPS:
            key = (attempt.outcome, _OTHERS)
        reason = _OTHERS if key[1] == _OTHERS else shorten(attempt.reason, _MAX_TEXT)
        return self._groups.setdefault(key, Group(attempt.outcome, reason))

    def _count(self, counter: Counter[str], text: str) -> None:
        if text in counter or len(counter) < _MAX_GROUPS:
            counter[text] += 1

    @property
    def failed(self) -> int:
        """The number of repetitions that failed."""
        return len(self._failed.begun)

    @property
    def runs(self) -> int:
        """The number of repetitions that passed or failed."""
        return len(self._passed.begun) + self.failed

    @property
    def skipped(self) -> int:
        """The number of repetitions that were skipped."""
        return self.counts[Outcome.SKIP]

    @property
    def seconds(self) -> Sequence[float]:
        """The durations of the repetitions that passed or failed."""
        return (*self._passed.seconds, *self._failed.seconds)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The kinds of failures, the most frequent first."""
        return tuple(sorted(self._groups.values(), key=lambda group: -group.count))

    def list_common_facts(self) -> Iterator[str]:
        """Yield a sentence for each fact that the failures have in common, or nearly all do."""
        if self.failed < 2:  # noqa: PLR2004 - one failure has nothing in common with another
            return
        if len(self._groups) > 1:
            yield from self._describe_most("have the same cause", self._count_groups())
        yield from self._describe_most("end with the same line", self._last_lines)
        yield from self._describe_most("left the same process", self._leaks)
        yield from self._describe_time()
        yield from self._describe_neighbours()
        yield from self._describe_durations()
        yield from self._describe_load()

    def _count_groups(self) -> Counter[str]:
        return Counter({f"{group.outcome} {group.reason}": group.count for group in self.groups})

    def _describe_most(self, what: str, counter: Counter[str]) -> Iterator[str]:
        """Yield what at least half of the failures share."""
        for text, number in counter.most_common(1):
            if number > 1 and 2 * number >= self.failed:
                yield f"{_format_share(number, self.failed)} {what}: {text}"

    def _describe_time(self) -> Iterator[str]:
        """Yield the time range of the failures if it is at most half of the whole time."""
        whole = max((*self._passed.begun, *self._failed.begun))
        first, last = min(self._failed.begun), max(self._failed.begun)
        if self.failed >= _MIN_SAMPLE and 2 * (last - first) <= whole:
            yield f"all failures began {first:.1f} s to {last:.1f} s into {whole:.1f} s"

    def _describe_neighbours(self) -> Iterator[str]:
        """Yield the least number of repetitions alongside a failure, if passes had fewer."""
        least = min(self._failed.others)
        below = sum(others < least for others in self._passed.others)
        if least and below:
            yield (
                f"all failures ran alongside at least {least} others; none of the {below} "
                "repetitions with fewer failed"
            )

    def _describe_durations(self) -> Iterator[str]:
        yield from self._compare("took", "s", self._failed.seconds, self._passed.seconds)

    def _describe_load(self) -> Iterator[str]:
        yield from self._compare("met a load average of", "", self._failed.load, self._passed.load)

    def _compare(
        self, verb: str, unit: str, failed: Sequence[float], passed: Sequence[float]
    ) -> Iterator[str]:
        """Yield the medians of failures and passes if the ranges of their middle halves differ."""
        if min(len(failed), len(passed)) < _MIN_SAMPLE:
            return
        (low, high), (other_low, other_high) = _find_middle(failed), _find_middle(passed)
        if low > other_high or high < other_low:
            suffix = f" {unit}" if unit else ""
            first, second = f"{median(failed):.2f}{suffix}", f"{median(passed):.2f}{suffix}"
            yield f"failures {verb} {first}, passes {second} (medians)"


def _find_middle(values: Sequence[float]) -> tuple[float, float]:
    """Return the first and the third quartile, by the nearest rank."""
    ranked = sorted(values)
    return ranked[(len(ranked) - 1) // 4], ranked[(3 * (len(ranked) - 1) + 3) // 4]


def _format_share(number: int, total: int) -> str:
    return f"all {total} failures" if number == total else f"{number} of {total} failures"


def _normalize(text: str) -> str:
    """Return a message without the parts that differ between repetitions."""
    return _VARIABLE.sub("N", shorten(text, _MAX_TEXT))
