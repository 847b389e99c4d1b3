"""The meter: the load between two moments, from samples at other moments."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from isosmoke.execution.concurrency.load_readings import SharedState, Stalls
from isosmoke.execution.concurrency.meter import Meter
from isosmoke.results.machine_load import Load

IDLE = SharedState(
    sockets=frozenset({"tcp 0.0.0.0:22"}),
    connections=10,
    killed=0,
    free_memory=0.5,
    free_disk=1000,
)


@dataclass(slots=True)
class Machine:
    """A machine whose clock and state a test sets."""

    now: float = 100.0
    stalls: Stalls = field(default_factory=lambda: Stalls(cpu=1.0, memory=0.0, io=0.0))
    surroundings: SharedState = IDLE
    others: float = 0.0
    used: float = 5.0

    def create_meter(self, processors: int = 2) -> Meter:
        """Return a meter of this machine."""
        return Meter(
            directory=Path("/"),
            processors=processors,
            cores=2.0,
            clock=lambda: self.now,
            pause=self.pause,
            read_used=lambda: self.used,
            read_stalls=lambda: self.stalls,
            read_surroundings=lambda _: self.surroundings,
        )

    def pause(self, seconds: float) -> None:
        """Let time pass, in which other programs make tasks wait for a CPU."""
        self.now += seconds
        waited = (self.stalls.cpu or 0.0) + self.others * seconds
        self.stalls = replace(self.stalls, cpu=None if self.stalls.cpu is None else waited)

    def pass_time(self, meter: Meter, seconds: float) -> None:
        """Let time pass, and take a sample every 0.2 s."""
        for _ in range(round(seconds / 0.2)):
            self.now += 0.2
            meter.sample()


def test_load_is_the_difference_between_begin_and_end() -> None:
    """Stalls are upper bounds for one process: the kernel's mean times the number of CPUs."""
    machine = Machine()
    meter = machine.create_meter()
    meter.sample()
    with meter.mark() as mark:
        machine.pass_time(meter, 1.0)
        machine.stalls = Stalls(cpu=1.5, memory=0.25, io=0.0)
        load = meter.measure(mark)

    assert replace(load, seconds=round(load.seconds, 3)) == Load(
        seconds=1.0,
        cpu_wait=1.0,
        memory_wait=0.5,
        io_wait=0.0,
        sockets=(),
        connections=0,
        killed=0,
        free_memory=0.5,
        free_disk=1000,
        used_disk=0,
    )


def test_what_a_neighbour_used_for_a_moment_is_in_the_load() -> None:
    """Each state between begin and end counts, not only the last one."""
    machine = Machine()
    meter = machine.create_meter()
    meter.sample()
    with meter.mark() as mark:
        machine.pass_time(meter, 0.4)
        machine.surroundings = replace(
            IDLE,
            sockets=frozenset({"tcp 0.0.0.0:22", "unix @x"}),
            connections=12,
            free_memory=0.2,
            free_disk=400,
        )
        machine.pass_time(meter, 0.4)
        machine.surroundings = replace(IDLE, connections=13, free_disk=900)
        machine.pass_time(meter, 0.4)
        load = meter.measure(mark)

    assert (load.sockets, load.connections) == (("unix @x",), 3)
    assert (load.free_memory, load.free_disk, load.used_disk) == (0.2, 400, 600)


def test_listener_that_began_before_the_attempt_counts() -> None:
    """A neighbour may have listened all the time; only what was there before the run may not."""
    machine = Machine()
    meter = machine.create_meter()
    meter.sample()
    machine.surroundings = replace(IDLE, sockets=frozenset({"tcp 0.0.0.0:22", "tcp [::]:80"}))
    machine.pass_time(meter, 1.0)
    with meter.mark() as mark:
        machine.pass_time(meter, 1.0)

        assert meter.measure(mark).sockets == ("tcp [::]:80",)


def test_listener_of_the_host_that_ends_counts() -> None:
    """A port that becomes free may be taken by a neighbour."""
    machine = Machine()
    meter = machine.create_meter()
    meter.sample()
    with meter.mark() as mark:
        machine.pass_time(meter, 0.4)
        machine.surroundings = replace(IDLE, sockets=frozenset())

        assert meter.measure(mark).sockets == ("tcp 0.0.0.0:22",)


def test_time_without_samples_is_unknown() -> None:
    """The events in a gap between samples are not guessed."""
    machine = Machine()
    meter = machine.create_meter()
    meter.sample()
    with meter.mark() as mark:
        machine.now += 5.0
        load = meter.measure(mark)

    assert (load.sockets, load.connections, load.killed) == (None, None, None)
    assert load.cpu_wait == 0.0


def test_attempt_before_the_first_sample_is_unknown() -> None:
    """Without a state from before the attempt, nothing can be compared."""
    machine = Machine()
    meter = machine.create_meter()
    with meter.mark() as mark:
        machine.pass_time(meter, 0.4)
        load = meter.measure(mark)

    assert load.sockets is None
    assert load.connections is None


def test_what_the_kernel_does_not_account_is_unknown() -> None:
    """A single unknown sample makes the value of the whole attempt unknown."""
    machine = Machine(stalls=Stalls(cpu=None, memory=None, io=None))
    meter = machine.create_meter()
    meter.sample()
    with meter.mark() as mark:
        machine.pass_time(meter, 0.4)
        machine.surroundings = SharedState(
            sockets=None, connections=None, killed=None, free_memory=None, free_disk=None
        )
        machine.pass_time(meter, 0.4)
        machine.surroundings = IDLE
        load = meter.measure(mark)

    assert replace(load, seconds=0.0) == Load(seconds=0.0)


def test_samples_before_every_attempt_are_forgotten() -> None:
    """A long run keeps no more samples than its longest attempt needs."""
    machine = Machine()
    meter = machine.create_meter()
    machine.pass_time(meter, 200.0)

    assert len(meter._samples) <= 2  # noqa: SLF001 - the memory is the subject


def test_pressure_is_that_of_the_last_step() -> None:
    """The share of time with a wait for a CPU is given once per step."""
    machine = Machine()
    meter = machine.create_meter()
    assert meter.read_pressure() is None
    machine.pass_time(meter, 0.2)
    assert meter.read_pressure() is None
    machine.pass_time(meter, 0.8)
    machine.stalls = Stalls(cpu=1.5, memory=0.0, io=0.0)
    machine.used = 6.0
    pressure = meter.read_pressure()

    assert pressure is not None
    assert pressure.cpu == pytest.approx(0.5)
    assert pressure.own == pytest.approx(0.5)
    assert pressure.free_memory == IDLE.free_memory
    assert meter.read_pressure() is None


@pytest.mark.parametrize(("others", "is_calm"), [(0.0, True), (0.04, True), (0.2, False)])
def test_machine_is_calm_if_nothing_else_uses_it(others: float, *, is_calm: bool) -> None:
    """Other programs that make tasks wait for a CPU disturb quiet company."""
    assert Machine(others=others).create_meter().is_calm() is is_calm


def test_machine_of_unknown_load_is_not_calm() -> None:
    """Without an account of waits, company would prove nothing."""
    unknown = Machine(stalls=Stalls(cpu=None, memory=None, io=None))

    assert not unknown.create_meter().is_calm()
