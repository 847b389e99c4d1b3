"""What a script took: the kernel's own account of it (pure)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """Of every process that is over, as getrusage(2) counts: CPU time in seconds, all together.

    `largest` is the most memory that a single one of them had at a time, in bytes. What still runs
    is not in it, nor are probes.
    """

    user_seconds: float
    system_seconds: float
    largest: int
