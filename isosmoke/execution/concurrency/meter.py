"""The meter of a run: it samples this machine, and gives the load during each attempt."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import field
from itertools import pairwise
from pathlib import Path
from threading import Lock
from time import monotonic, sleep
from typing import Self, TypeVar

from isosmoke.dataclass import dataclass
from isosmoke.execution.concurrency import load_readings
from isosmoke.execution.concurrency.load_readings import SharedState, Stalls
from isosmoke.execution.concurrency.slots import STEP_SECONDS, Pressure
from isosmoke.host import state
from isosmoke.results.machine_load import Load

PERIOD = 0.2
"""The time between samples in seconds."""

_LONGEST_GAP = 1.0
"""The time without a sample in seconds after which the use of the network is unknown."""

_CALM_SHARE = 0.05
"""The share of time in which some task may wait for a CPU on a calm machine."""

_DISTINCT = 0.02
"""The time in seconds in which a sample is not repeated: many attempts begin and end at once."""

Number = TypeVar("Number", int, float)


def _read_used() -> float:
    """Return the CPU time of this process and of its children that have ended, in seconds."""
    return sum(os.times()[:4])


@dataclass(frozen=True, slots=True)
class Mark:
    """The start of an attempt, by `monotonic`, and the stalls until then."""

    at: float
    stalls: Stalls


@dataclass(frozen=True, slots=True)
class MeterSample:
    """The surroundings at a time by `monotonic`."""

    at: float
    surroundings: SharedState


@dataclass(slots=True, kw_only=True)
class Meter:
    """A series of samples, from the time before the first attempt to the present.

    `directory` is on the disk of the sandboxes, and `processors` the number of CPUs that are
    online, of which the run may use `cores`. The methods may be called from any thread.
    """

    directory: Path
    processors: int
    cores: float
    clock: Callable[[], float] = monotonic
    period: float = PERIOD
    pause: Callable[[float], object] = sleep
    read_stalls: Callable[[], Stalls] = load_readings.read_stalls
    read_surroundings: Callable[[Path], SharedState] = load_readings.read_surroundings
    read_used: Callable[[], float] = _read_used
    _samples: deque[MeterSample] = field(default_factory=deque, init=False)
    _first: SharedState | None = field(default=None, init=False)
    _marks: list[Mark] = field(default_factory=list, init=False)
    _step: Mark | None = field(default=None, init=False)
    _begun: tuple[float, float] = field(init=False)

    _lock: Lock = field(default_factory=Lock, init=False)

    def __post_init__(self) -> None:
        self._begun = (self.clock(), self.read_used())

    @classmethod
    def of_this_machine(cls) -> Self:
        """Return a meter of this machine, with the disk of the state directory."""
        return cls(
            directory=state.get_state_directory(),
            processors=os.cpu_count() or 1,
            cores=load_readings.count_cores(),
        )

    @contextmanager
    def mark(self) -> Iterator[Mark]:
        """Yield the mark of an attempt that begins now and ends with the block."""
        mark = Mark(self.clock(), self.read_stalls())
        with self._lock:
            self._marks.append(mark)
        try:
            yield mark
        finally:
            with self._lock:
                self._marks.remove(mark)

    def sample(self) -> None:
        """Take a sample, unless one has just been taken; forget those before every attempt."""
        with self._lock:
            self._sample()

    def measure(self, mark: Mark) -> Load:
        """Return the load from the start of an attempt until now."""
        with self._lock:
            self._sample(distinct=0.0)
            samples = tuple(self._samples)
        now, stalls = self.clock(), self.read_stalls()
        return summarize(
            mark, Mark(now, stalls), samples, steady=self._first, processors=self.processors
        )

    def read_pressure(self) -> Pressure | None:
        """Return the state of the machine since the last call; None if that was too recently."""
        mark = Mark(self.clock(), self.read_stalls())
        if self._step and mark.at - self._step.at < STEP_SECONDS:
            return None
        step, self._step = self._step, mark
        if step is None:
            return None
        waited = _subtract(mark.stalls.cpu, step.stalls.cpu)
        surroundings = self._samples[-1].surroundings if self._samples else None
        return Pressure(
            cpu=None if waited is None else waited / (mark.at - step.at),
            own=self._compute_own_share(mark.at),
            free_memory=None if surroundings is None else surroundings.free_memory,
        )

    def _compute_own_share(self, now: float) -> float | None:
        """Return the share of the CPUs that this process and its ended children have used."""
        at, used = self._begun
        return (self.read_used() - used) / (now - at) / self.cores if now > at else None

    def is_calm(self) -> bool:
        """Return whether the machine has idle CPUs while no scenario runs; this takes a moment.

        If other programs keep it busy, company that leaves it idle proves nothing.
        """
        begin = Mark(self.clock(), self.read_stalls())
        self.pause(PERIOD)
        end = Mark(self.clock(), self.read_stalls())
        waited = _subtract(end.stalls.cpu, begin.stalls.cpu)
        return waited is not None and waited <= _CALM_SHARE * (end.at - begin.at)

    def _sample(self, distinct: float = _DISTINCT) -> None:
        now = self.clock()
        if self._samples and now - self._samples[-1].at < distinct:
            return
        self._samples.append(MeterSample(now, self.read_surroundings(self.directory)))
        self._first = self._first or self._samples[0].surroundings
        oldest = min((mark.at for mark in self._marks), default=now)
        while len(self._samples) > 1 and self._samples[1].at <= oldest:
            self._samples.popleft()


def summarize(
    begin: Mark,
    end: Mark,
    samples: Iterable[MeterSample],
    *,
    steady: SharedState | None,
    processors: int,
) -> Load:
    """Return the load between two marks (pure).

    `samples` begin before the first mark. `steady` are the surroundings before the run: what
    listened then and ever since is not part of the run.
    """
    before = [sample for sample in samples if sample.at <= begin.at]
    covering = (*before[-1:], *(sample for sample in samples if begin.at < sample.at <= end.at))
    seen = [sample.surroundings for sample in covering]
    times = (*(sample.at for sample in covering), end.at)
    has_gap = not before or any(later - at > _LONGEST_GAP for at, later in pairwise(times))
    seconds = end.at - begin.at

    def limit(end: float | None, begin: float | None) -> float | None:
        """Return the longest possible wait of one process: all CPUs' mean, times their number."""
        mean = _subtract(end, begin)
        return None if mean is None else min(seconds, mean * processors)

    return Load(
        seconds=seconds,
        cpu_wait=limit(end.stalls.cpu, begin.stalls.cpu),
        memory_wait=limit(end.stalls.memory, begin.stalls.memory),
        io_wait=limit(end.stalls.io, begin.stalls.io),
        sockets=None if has_gap else _find_temporary(seen, steady),
        connections=None if has_gap else _grow([state.connections for state in seen]),
        killed=None if has_gap else _grow([state.killed for state in seen]),
        free_memory=_find_least([state.free_memory for state in seen]),
        free_disk=_find_least([state.free_disk for state in seen]),
        used_disk=_find_fall([state.free_disk for state in seen]),
    )


def _subtract(end: float | None, begin: float | None) -> float | None:
    return None if end is None or begin is None else end - begin


def _find_temporary(
    seen: Iterable[SharedState], steady: SharedState | None
) -> tuple[str, ...] | None:
    """Return the sockets that were not there from before the run to the end; None if unknown."""
    sets = [state.sockets for state in seen]
    known = [sockets for sockets in sets if sockets is not None]
    if steady is None or steady.sockets is None or len(known) < len(sets):
        return None
    always = steady.sockets.intersection(*known)
    return tuple(sorted(frozenset().union(*known) - always))


def _grow(counts: list[int | None]) -> int | None:
    """Return the difference between the last and the first count; None if one is unknown."""
    known = [count for count in counts if count is not None]
    return known[-1] - known[0] if known and len(known) == len(counts) else None


def _find_least(values: list[Number | None]) -> Number | None:
    known = [value for value in values if value is not None]
    return min(known) if known and len(known) == len(values) else None


def _find_fall(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return known[0] - min(known) if known and len(known) == len(values) else None
