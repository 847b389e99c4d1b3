"""The load of the machine during an attempt, and the doubts about a failure that it leaves."""

from collections.abc import Iterable
from typing import Literal

from isosmoke.dataclass import dataclass

DoubtKind = Literal[
    "cpu",
    "memory",
    "io",
    "space",
    "network",
    "outside",
    "exhausted",
    "deadline",
    "engine",
    "option",
    "unmeasured",
]
"""The ways in which a neighbour can make a scenario fail, and what prevents an answer.

`option` stands for the wish of the user to confirm every failure.
"""

CAPACITY = frozenset({"cpu", "memory", "io"})
"""The doubts about resources of which each scenario takes a part: quiet company leaves enough."""

Basis = Literal["", "alone", "measured", "known", "option"]
"""Why a failure counts; see `Attempt.basis`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A way in which another scenario may have caused a failure, and what was measured of it."""

    kind: DoubtKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The load of the whole machine from the start to the end of an attempt.

    None means that something could not be measured. The waits are upper bounds, in seconds, of the
    time in which a process of the attempt waited for a CPU, for memory and for a disk. `sockets`
    are the addresses on the host's network that some process, of the attempt or not, listened on
    for only a part of the run, and `connections` is the number of TCP connections opened there.
    `killed` counts processes that the kernel ended for lack of memory. `free_memory` is the
    smallest share of the memory that was available, and `free_disk` the smallest free space in
    bytes where sandboxes are kept; `used_disk` is the largest amount by which it fell meanwhile.
    """

    seconds: float
    cpu_wait: float | None = None
    memory_wait: float | None = None
    io_wait: float | None = None
    sockets: tuple[str, ...] | None = None
    connections: int | None = None
    killed: int | None = None
    free_memory: float | None = None
    free_disk: int | None = None
    used_disk: int | None = None


def is_about_capacity(doubts: Iterable[Doubt]) -> bool:
    """Return whether the doubts are only about resources that quiet company leaves free."""
    return all(doubt.kind in CAPACITY for doubt in doubts)
