"""The course of a run as a chart: a lane for each worker, a bar for each attempt.

All positions are percentages of the width, so that the chart fits every screen.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, groupby
from math import ceil, floor, log10
from operator import itemgetter

from isosmoke.dataclass import dataclass
from isosmoke.reports import wording
from isosmoke.reports.lanes import NamedAttempt, assign_lanes
from isosmoke.results.outcome import Outcome
from isosmoke.results.records.attempt import AttemptRecord
from isosmoke.results.run_record import RunRecord

ROW = 24
"""The height of a lane, in pixels."""

_MAX_BARS = 1000
"""The number of bars with a name; in a longer run, only the longest attempts have one."""

_MAX_LANES = 64
_LABEL = 3.0
"""The width from which a bar contains its name and time, in percent; the page may cut them off."""

_FINE = 10_000
_LAYERS = 5
_MIN_WAIT = 0.01
_MAX_TICKS = 8
_LAST_TICK = 97
_MAX_POINTS = 400
_STEPS = (1, 2, 5, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """An attempt: its start and width, and the same of the time in which its script ran."""

    name: str
    label: str
    classes: str
    lane: int
    x: str
    width: str
    script_x: str
    script_width: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The share of an attempt's time in which its processes waited for a resource."""

    resource: str
    x: str
    width: str
    share: float
    title: str

    @property
    def top(self) -> str:
        """The distance of the bar from the top of the chart."""
        return _percent(100 - self.share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The chart: bars with names, all other attempts as paths, ticks, and the load below."""

    lanes: int
    hidden_lanes: int
    bars: tuple[Bar, ...]
    unnamed: tuple[tuple[Outcome, str], ...]
    unnamed_count: int
    ticks: tuple[tuple[str, str], ...]
    running: str
    most_running: int
    waiting: tuple[Waiting, ...]

    @property
    def height(self) -> int:
        """The height of all lanes, in pixels."""
        return self.lanes * ROW

    @property
    def resources(self) -> tuple[str, ...]:
        """The resources for which an attempt waited."""
        return tuple(dict.fromkeys(wait.resource for wait in self.waiting))

    @property
    def most_waiting(self) -> str:
        """The largest share of time in which an attempt waited."""
        return f"{max(wait.share for wait in self.waiting):.0f}%"


def build_timeline(run: RunRecord) -> Timeline | None:
    """Return the chart of a run; None if nothing was tried."""
    lanes = assign_lanes(run)
    if not lanes:
        return None
    attempts = [item for lane in lanes for item in lane]
    total = max(run.seconds, *(_find_end(attempt) for _, attempt in attempts))
    scale = 100 / total if total else 0.0
    placed = [(lane, *item) for lane, items in enumerate(lanes[:_MAX_LANES]) for item in items]
    placed.sort(key=lambda item: (not item[2].outcome.blocks, -item[2].seconds))
    named, unnamed = placed[:_MAX_BARS], placed[_MAX_BARS:]
    points = [*_count_running(attempt for _, attempt in attempts)]
    return Timeline(
        lanes=min(len(lanes), _MAX_LANES),
        hidden_lanes=max(0, len(lanes) - _MAX_LANES),
        bars=tuple(_build_bar(*item, scale) for item in sorted(named, key=_get_position)),
        unnamed=tuple(_draw_unnamed(unnamed, scale)),
        unnamed_count=len(unnamed),
        ticks=tuple(_list_ticks(total)),
        running=_draw_running(points, scale),
        most_running=max(number for _, number in points),
        waiting=tuple(_list_waiting(attempts, scale)),
    )


_Placed = tuple[int, str, AttemptRecord]


def _get_position(item: _Placed) -> tuple[int, float, float]:
    return item[0], item[2].begun, _find_end(item[2])


def _find_end(attempt: AttemptRecord) -> float:
    return attempt.begun + sum(attempt.phases.values())


def _build_bar(lane: int, name: str, attempt: AttemptRecord, scale: float) -> Bar:
    width = (_find_end(attempt) - attempt.begun) * scale
    before, script = _find_script(attempt)
    whole = sum(attempt.phases.values()) or 1.0
    phases = ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in attempt.phases.items())
    waited = f", waited {attempt.waited:.2f} s before" if attempt.waited >= _MIN_WAIT else ""
    title = f"{name}  {wording.describe_attempt(attempt)}, {attempt.seconds:.2f} s: {phases}"
    return Bar(
        name=name,
        label=f"{name} {attempt.seconds:.2f} s" if width >= _LABEL else "",
        classes=f"{attempt.outcome} blocks" if attempt.outcome.blocks else attempt.outcome,
        lane=lane,
        x=_percent(attempt.begun * scale),
        width=_percent(max(width, 0.1)),
        script_x=_percent(100 * before / whole),
        script_width=_percent(100 * script / whole),
        title=f"{title}{waited}",
    )


def _find_script(attempt: AttemptRecord) -> tuple[float, float]:
    """Return the time before the script, and that in which it ran."""
    before = 0.0
    for phase, seconds in attempt.phases.items():
        if phase == "run":
            return before, seconds
        before += seconds
    return 0.0, 0.0


def _draw_unnamed(placed: Sequence[_Placed], scale: float) -> Iterator[tuple[Outcome, str]]:
    """Yield a path for each outcome, in units of 1/100 percent and of lanes."""
    ordered = sorted(placed, key=lambda item: (item[2].outcome, *_get_position(item)))
    for outcome, items in groupby(ordered, key=lambda item: item[2].outcome):
        spans = dict.fromkeys(
            (lane, round(attempt.begun * scale * 100), _measure(attempt, scale))
            for lane, _, attempt in items
        )
        yield outcome, "".join(f"M{x} {lane * _LAYERS + 2}h{width}" for lane, x, width in spans)


def _measure(attempt: AttemptRecord, scale: float) -> int:
    return max(3, round(sum(attempt.phases.values()) * scale * 100))


def _list_ticks(total: float) -> Iterator[tuple[str, str]]:
    """Yield the position and the text of each round time."""
    if total <= 0:
        return
    magnitude = 10.0 ** floor(log10(total / _MAX_TICKS))
    step = next(size * magnitude for size in _STEPS if size * magnitude * _MAX_TICKS >= total)
    digits = max(0, ceil(-log10(step) - 1e-9))
    for number in range(int(total / step) + 1):
        position = 100 * number * step / total
        if position <= _LAST_TICK:
            yield _percent(position), f"{number * step:.{digits}f} s"


def _count_running(attempts: Iterable[AttemptRecord]) -> Iterator[tuple[float, int]]:
    """Yield each time at which the number of concurrent attempts changes, and the new number."""
    changes = sorted(
        change for attempt in attempts for change in ((attempt.begun, 1), (_find_end(attempt), -1))
    )
    numbers = accumulate(change for _, change in changes)
    times = zip((time for time, _ in changes), numbers, strict=True)
    for time, group in groupby(times, key=itemgetter(0)):
        *_, (_, number) = group
        yield time, number


def _draw_running(points: Sequence[tuple[float, int]], scale: float) -> str:
    """Return a path of steps; x is in 1/100 percent, y is -1 for each attempt."""
    thinned = points[:: ceil(len(points) / _MAX_POINTS)] if points else points
    steps = [f"H{min(_FINE, round(time * scale * 100))}V{-number}" for time, number in thinned]
    return f"M0 0{''.join(steps)}V0Z"


def _list_waiting(attempts: Sequence[NamedAttempt], scale: float) -> Iterator[Waiting]:
    for name, attempt in attempts:
        load = attempt.load
        if load is None or load.seconds <= 0:
            continue
        waits = {"CPU": load.cpu_wait, "memory": load.memory_wait, "disk": load.io_wait}
        for resource, seconds in waits.items():
            if seconds:
                share = min(100.0, 100 * seconds / load.seconds)
                yield Waiting(
                    resource=resource,
                    x=_percent(attempt.begun * scale),
                    width=_percent(max(0.2, load.seconds * scale)),
                    share=share,
                    title=f"while {name} ran, processes waited for {resource}"
                    f" up to {share:.0f}% of the time",
                )


def _percent(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".") + "%"
