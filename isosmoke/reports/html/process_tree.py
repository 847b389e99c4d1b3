"""The processes that outlived a scenario, as a tree of parents and children."""

from collections.abc import Iterator, Sequence

from isosmoke.dataclass import dataclass
from isosmoke.results.records.attempt import ProcessRecord, ToleratedRecord
from isosmoke.results.run_record import ScenarioRecord
from isosmoke.text import escape_controls, truncate

_KEEPER = 1
_MAX_LENGTH = 1000
_MAX_SHOWN = 50
_MAX_DEPTH = 8
_STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "waiting for a device",
    "T": "stopped",
    "t": "traced",
    "Z": "zombie",
    "I": "idle",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A process in the tree, `depth` steps below one whose parent is not in it.

    `allowed` is the reason why it may survive, empty for a leak. `facts` are printable.
    """

    depth: int
    pid: int
    command: str
    is_orphan: bool
    allowed: str
    facts: str
    listens: tuple[str, ...]


def build_tree(scenario: ScenarioRecord) -> tuple[Node, ...]:
    """Return the survivors of a scenario in the order of their tree, up to a maximum number."""
    survivors = (*scenario.leaks, *scenario.tolerated)[:_MAX_SHOWN]
    return tuple(_describe(process, depth) for process, depth in _sort(survivors))


def count_left_out(scenario: ScenarioRecord) -> int:
    """Return the number of survivors that the tree does not show."""
    return max(0, len(scenario.leaks) + len(scenario.tolerated) - _MAX_SHOWN)


def _sort(survivors: Sequence[ProcessRecord]) -> Iterator[tuple[ProcessRecord, int]]:
    """Yield each process once, after its parent, with its depth.

    Processes that are their own ancestors, which only a forged record has, come last.
    """
    pids = {process.pid for process in survivors}
    roots = [process for process in survivors if process.ppid not in pids]
    left = [process for process in survivors if process.ppid in pids]
    pending = [(process, 0) for process in reversed(roots)]
    while pending:
        process, depth = pending.pop()
        yield process, depth
        children = [child for child in left if child.ppid == process.pid]
        left = [other for other in left if other.ppid != process.pid]
        pending += [(child, depth + 1) for child in reversed(children)]
    yield from ((process, 0) for process in left)


def _describe(process: ProcessRecord, depth: int) -> Node:
    is_orphan = process.ppid == _KEEPER
    parent = "re-parented to the keeper" if is_orphan else f"parent {process.ppid}"
    state = _STATES.get(process.state, process.state)
    facts = [f"pid {process.pid}", parent, state, f"{process.age_seconds:.1f} s old"]
    facts += [f"in {process.cwd}"] if process.cwd else []
    facts += [f"program {process.exe}"] if process.exe else []
    allowed = process.reason if isinstance(process, ToleratedRecord) else ""
    return Node(
        depth=min(depth, _MAX_DEPTH),
        pid=process.pid,
        command=truncate(process.process.command_line, _MAX_LENGTH),
        is_orphan=is_orphan,
        allowed=truncate(allowed, _MAX_LENGTH),
        facts=truncate(" · ".join(facts), _MAX_LENGTH),
        listens=tuple(map(escape_controls, process.listens[:_MAX_SHOWN])),
    )
