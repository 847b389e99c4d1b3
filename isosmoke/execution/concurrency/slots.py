"""The number of scenarios that run at once, as the machine bears it (pure).

A run begins with four slots per CPU. While all slots are used, tasks of the machine rarely wait for
a CPU, and memory is free, slots are added. When some task nearly always waits for a CPU, and the
run itself uses much of the CPUs, or memory becomes scarce, slots are taken away. A running scenario
is never stopped for that.
"""

from dataclasses import replace
from typing import Self

from isosmoke.dataclass import dataclass

STEP_SECONDS = 0.5
"""The time between two changes, in seconds: a new scenario needs some time to show its load."""

FREE_BELOW = 0.5
"""The share of time with a task that waits for a CPU below which there is room for more."""

FULL_ABOVE = 0.8
"""The share of time with a task that waits for a CPU above which there are too many."""

OWN_SHARE = 0.25
"""The share of the CPUs above which the run itself is a cause of the waits for a CPU."""

SCARCE_MEMORY = 0.15
"""The share of the memory below which no slots are added, and half of them are taken away."""

_FIRST_PER_CORE = 4
_MOST_PER_CORE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """The state of the machine in the last step: shares from 0 to 1, or None if unknown.

    `own` is the share of the CPUs that the run has used so far, without scenarios in progress.
    """

    cpu: float | None
    own: float | None
    free_memory: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """The current number of slots, and its bounds; they are equal if the user gave a number.

    `roomy` is the number while a scenario runs that needs room: one per CPU.
    """

    number: int
    least: int
    most: int
    roomy: int

    @classmethod
    def fixed(cls, number: int) -> Self:
        """Return slots whose number does not change, and is the same for all scenarios."""
        return cls(number=number, least=number, most=number, roomy=number)

    @classmethod
    def adaptive(cls, cores: float) -> Self:
        """Return the slots at the start of a run on this many CPUs."""
        whole = max(1, int(cores))
        return cls(
            number=_FIRST_PER_CORE * whole,
            least=whole,
            most=_MOST_PER_CORE * whole,
            roomy=whole,
        )

    def adapt(self, pressure: Pressure | None, *, used: float) -> Self:
        """Return the slots for the next step; `used` is how many are used now.

        Slots that are not used show nothing about more of them. Nothing changes while the step is
        not over (None), or the wait for a CPU is unknown.
        """
        number = self.number
        if pressure is None:
            return self
        if pressure.free_memory is not None and pressure.free_memory < SCARCE_MEMORY:
            number //= 2
        elif pressure.cpu is not None and pressure.cpu > FULL_ABOVE:
            if pressure.own is None or pressure.own > OWN_SHARE:
                number -= max(1, number // 4)
        elif pressure.cpu is not None and pressure.cpu < FREE_BELOW and used >= number:
            number += max(1, number // 2)
        return replace(self, number=max(self.least, min(number, self.most)))
