"""The number of slots: more while the machine waits, fewer when tasks wait for it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.execution.concurrency.slots import Pressure, Slots

IDLE = Pressure(cpu=0.1, own=0.5, free_memory=0.7)
BUSY = Pressure(cpu=0.95, own=0.5, free_memory=0.7)
BALANCED = Pressure(cpu=0.65, own=0.5, free_memory=0.7)
PRESSURES = st.none() | st.builds(
    Pressure,
    cpu=st.none() | st.floats(0, 2),
    own=st.none() | st.floats(0, 2),
    free_memory=st.none() | st.floats(0, 1),
)


def adapt_often(slots: Slots, pressure: Pressure, times: int = 50) -> int:
    """Return the number of slots after many steps in which all slots were used."""
    for _ in range(times):
        slots = slots.adapt(pressure, used=slots.number)
    return slots.number


def test_idle_machine_gets_more_and_busy_machine_fewer() -> None:
    """The number reaches its bounds: 16 slots per CPU, and one."""
    slots = Slots.adaptive(2.0)

    assert slots.number == 8
    assert adapt_often(slots, IDLE) == 32
    assert adapt_often(slots, BUSY) == 2
    assert adapt_often(slots, BALANCED) == 8


def test_waits_that_other_programs_cause_take_no_slots() -> None:
    """A run that hardly uses a CPU gains nothing from fewer slots; an unknown use is a high one."""
    others = replace(BUSY, own=0.1)

    assert adapt_often(Slots.adaptive(2.0), others) == 8
    assert adapt_often(Slots.adaptive(2.0), replace(others, own=None)) == 2


def test_unused_slots_are_no_reason_for_more() -> None:
    """While fewer scenarios run than may run, an idle machine shows nothing."""
    assert Slots.adaptive(2.0).adapt(IDLE, used=7).number == 8


def test_scarce_memory_halves_the_slots() -> None:
    """Memory takes precedence over idle CPUs."""
    slots = Slots.adaptive(2.0)

    assert slots.adapt(Pressure(cpu=0.0, own=0.0, free_memory=0.1), used=8).number == 4


@pytest.mark.parametrize("pressure", [None, Pressure(cpu=None, own=None, free_memory=None)])
def test_unknown_pressure_changes_nothing(pressure: Pressure | None) -> None:
    """A kernel that does not account waits leaves the number at its start."""
    slots = Slots.adaptive(2.0)

    assert slots.adapt(pressure, used=8) == slots


def test_part_of_a_cpu_still_runs_scenarios() -> None:
    """A quota of half a CPU has at least one slot."""
    assert adapt_often(Slots.adaptive(0.5), BUSY) == 1


@given(st.floats(0.1, 256), st.lists(st.tuples(PRESSURES, st.floats(0, 9999))))
def test_slots_stay_within_bounds(cores: float, steps: list[tuple[Pressure | None, float]]) -> None:
    """No sequence of pressures leads out of the bounds."""
    slots = Slots.adaptive(cores)
    for pressure, used in steps:
        slots = slots.adapt(pressure, used=used)
        assert 1 <= slots.least <= slots.number <= slots.most


@given(st.integers(1, 2000), PRESSURES)
def test_number_of_the_user_is_fixed(number: int, pressure: Pressure | None) -> None:
    """`-j` is obeyed, whatever the load is."""
    assert Slots.fixed(number).adapt(pressure, used=number).number == number
