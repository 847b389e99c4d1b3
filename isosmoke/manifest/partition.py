"""Division of scenarios into shards, each of which a machine runs.

The same names, durations and number of shards give the same division everywhere: it depends neither
on the order of the names nor on anything that a machine remembers.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping

from isosmoke.dataclass import dataclass
from isosmoke.errors import UsageError

MAX_SHARDS = 9999
"""The maximum number of shards."""

_FORM = re.compile(r"([0-9]{1,4})/([0-9]{1,4})")


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `total` shards; `number` counts from 1."""

    number: int
    total: int

    def __str__(self) -> str:
        """Return the shard as it is on the command line."""
        return f"{self.number}/{self.total}"


def parse_shard(text: str) -> Shard:
    """Return the shard that a text such as `2/5` names.

    Raises:
        UsageError: if it names none.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise UsageError(
            f"--shard {text!r} is not NUMBER/TOTAL", hint="--shard 2/5 is the second of five shards"
        )
    shard = Shard(int(match[1]), int(match[2]))
    if not 1 <= shard.number <= shard.total:
        last = max(shard.total, 1)
        raise UsageError(
            f"--shard {text}: shards are numbered from 1 to their total",
            hint=f"--shard 1/{last} to --shard {last}/{last}",
        )
    return shard


def divide(
    names: Iterable[str], total: int, seconds: Mapping[str, float] | None = None
) -> Mapping[str, int]:
    """Map each name to the number of its shard, from 1 to `total`.

    With durations in `seconds`, every scenario goes to the shard with the least time so far, the
    longest scenarios first; one of unknown duration counts as the median of the known ones. Without
    durations, the shards have the same number of scenarios, or one more.
    """
    ordered = sorted(names, key=_compute_rank)
    if seconds is None:
        return {name: 1 + index % total for index, name in enumerate(ordered)}
    cost = _estimate_costs(ordered, seconds)
    shards = {}
    load = [(0, 0, number) for number in range(1, total + 1)]
    for name in sorted(ordered, key=lambda name: -cost[name]):  # stable, so by rank among equals
        spent, count, number = min(load)
        load[number - 1] = (spent + cost[name], count + 1, number)
        shards[name] = number
    return shards


def _compute_rank(name: str) -> tuple[bytes, str]:
    """Return a rank that separates neighbours, as these often take equally long."""
    return hashlib.sha256(name.encode(errors="surrogateescape")).digest(), name


def _estimate_costs(names: Iterable[str], seconds: Mapping[str, float]) -> Mapping[str, int]:
    """Return the duration of each name in whole milliseconds, whose sums are exact."""
    from statistics import median  # slow to import, and not needed without durations

    known = {name: round(seconds[name] * 1000) for name in names if name in seconds}
    usual = round(median(known.values())) if known else 0
    return {name: known.get(name, usual) for name in names}
