"""The search for the first bad commit in a history with merges (pure).

The rules are those of git-bisect(1): a commit that passes clears itself and everything that it
contains, and one that fails leaves only what it contains. Unlike git, several commits are chosen at
once.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from functools import cached_property
from typing import Literal

from isosmoke.dataclass import dataclass

Verdict = Literal["good", "bad", "skip"]
"""The verdict on a commit; "skip" means that it could not be tested."""

_SAMPLE = 256
"""The number of commits whose ancestors are counted to choose one; more would take too long."""


@dataclass(frozen=True)
class CommitSearch:
    """A search among the commits of `parents`, which maps each to its parents in topological order.

    Children come before parents. `bad` fails, and everything outside of `parents` passes.
    `verdicts` are those so far, in the order in which they were reached.
    """

    parents: Mapping[str, Sequence[str]]
    bad: str
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)

    @cached_property
    def _state(self) -> tuple[str, Collection[str], tuple[str, ...]]:
        """The last bad commit, the suspects, and the commits whose verdict contradicts others."""
        bad, suspects = self.bad, self._list_ancestors(self.bad, self.parents)
        odd = []
        for commit, verdict in self.verdicts.items():
            if verdict == "skip":
                continue
            if commit not in suspects or (commit == bad and verdict == "good"):
                odd += [commit] if self._contradicts(commit, verdict, bad) else []
            elif verdict == "bad":
                bad, suspects = commit, self._list_ancestors(commit, suspects)
            else:
                suspects = suspects - self._list_ancestors(commit, suspects)
        return bad, suspects, tuple(odd)

    @property
    def suspects(self) -> tuple[str, ...]:
        """The commits that can be the first bad one, newest first; the last bad one is first."""
        bad, suspects, _ = self._state
        return (bad, *(commit for commit in self.parents if commit in suspects and commit != bad))

    @property
    def first_bad(self) -> str:
        """The first bad commit; empty if it is not known."""
        suspects = self.suspects
        return suspects[0] if len(suspects) == 1 else ""

    @property
    def is_over(self) -> bool:
        """True if no further verdict is needed, or only skipped commits are left."""
        return not self._testable

    @property
    def contradictions(self) -> tuple[str, ...]:
        """The commits that pass although they contain a bad one, or fail within a good one."""
        return self._state[2]

    @property
    def _testable(self) -> tuple[str, ...]:
        return tuple(commit for commit in self.suspects[1:] if commit not in self.verdicts)

    def choose(self, number: int, running: Collection[str] = ()) -> tuple[str, ...]:
        """Return at most `number` commits to test, which divide the suspects evenly.

        `running` are those that are being tested.
        """
        free = [commit for commit in self._testable if commit not in running]
        total = len(self.suspects)
        parts = number + len([commit for commit in running if commit in self.suspects]) + 1
        weights = self._weigh(_thin_out([*free, *running]))
        targets = [total * part / parts for part in range(1, parts)]
        for commit in running:  # each of them already stands for the part that is nearest to it
            if commit in weights and targets:
                targets.remove(min(targets, key=lambda part: abs(part - weights[commit])))
        chosen: list[str] = []
        for part in targets[:number]:
            left = [commit for commit in weights if commit not in (*chosen, *running)]
            if left:
                chosen.append(min(left, key=lambda commit: abs(weights[commit] - part)))
        return tuple(chosen)

    def _weigh(self, commits: Iterable[str]) -> Mapping[str, int]:
        """Map each of the commits that is a suspect to the number of suspects that it contains.

        In one pass over the suspects, the commits that contain each of them are collected as bits.
        """
        suspects = self._state[1]
        bits = {commit: 1 << at for at, commit in enumerate(filter(suspects.__contains__, commits))}
        containing: dict[str, int] = {}
        counts: Counter[int] = Counter()
        for commit in filter(suspects.__contains__, self.parents):
            above = containing.pop(commit, 0) | bits.get(commit, 0)
            counts[above] += 1
            for parent in self.parents[commit]:
                containing[parent] = containing.get(parent, 0) | above
        return {
            commit: sum(count for above, count in counts.items() if above & bit)
            for commit, bit in bits.items()
        }

    def _list_ancestors(self, commit: str, within: Collection[str]) -> frozenset[str]:
        """Return the commits of `within` that a commit contains, itself included."""
        found: set[str] = set()
        pending = [commit]
        while pending:
            item = pending.pop()
            if item in within and item not in found:
                found.add(item)
                pending.extend(self.parents.get(item, ()))
        return frozenset(found)

    def _contradicts(self, commit: str, verdict: Verdict, bad: str) -> bool:
        """Return whether a commit is good although it contains `bad`, or bad although cleared."""
        if verdict == "good":
            return bad in self._list_ancestors(commit, self.parents)
        return commit != bad and any(
            commit in self._list_ancestors(other, self.parents)
            for other, earlier in self.verdicts.items()
            if earlier == "good"
        )


def _thin_out(commits: Sequence[str]) -> Iterator[str]:
    """Yield at most `_SAMPLE` of the commits, evenly spaced."""
    step = max(1, -(-len(commits) // _SAMPLE))
    return iter(commits[::step])
