"""Random histories with merges, for tests of bisections."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

from isosmoke.investigation.bisection.search import Verdict
from support.git_repositories import Git


@dataclass(slots=True)
class History:
    """A history whose verdicts are known: each commit has a file `verdict`.

    `parents` are those of each commit, in the order of creation. `first_bad` is the commit that all
    bad ones contain, though it may be skipped itself.
    """

    parents: dict[str, tuple[str, ...]] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    first_bad: str = ""

    @property
    def good(self) -> str:
        """The first commit, which passes."""
        return next(iter(self.parents))

    @property
    def bad(self) -> str:
        """The last commit, which contains all others and fails."""
        return [*self.parents][-1]

    def list_possible_results(self) -> list[tuple[set[str], set[str]]]:
        """Return the smallest and the largest set of suspects for each commit that can be last.

        That is a bad commit whose other bad ancestors are all skipped. A good commit that contains
        a skipped one clears it; one outside of the ancestors of the bad commit may not be tested.
        """
        bad = [name for name, verdict in self.verdicts.items() if verdict == "bad"]
        last = [
            name
            for name in bad
            if not any(self.contains(name, other) for other in bad if other != name)
        ]
        return [
            (
                self._list_suspects(name, self.parents),
                self._list_suspects(
                    name, [other for other in self.parents if self.contains(name, other)]
                ),
            )
            for name in last
        ]

    def _list_suspects(self, bad: str, tested: Iterable[str]) -> set[str]:
        """Return a bad commit and its skipped ancestors that no good one of `tested` contains."""
        good = [name for name in tested if self.verdicts[name] == "good"]
        skipped = [
            name
            for name, verdict in self.verdicts.items()
            if verdict == "skip" and self.contains(bad, name)
        ]
        return {
            bad,
            *(name for name in skipped if not any(self.contains(other, name) for other in good)),
        }

    def contains(self, commit: str, other: str) -> bool:
        """Return whether a commit is another one, or a descendant of it."""
        return commit == other or any(self.contains(item, other) for item in self.parents[commit])


def create_history(git: Git, seed: int, size: int, *, skips: float = 0.2) -> History:
    """Create a random history of `size` commits in an empty repository, and check out the last.

    The last commit merges all branches. About the share `skips` of the commits cannot be tested.
    """
    random, history = Random(seed), History()  # noqa: S311 - a test that can be repeated
    trees = {verdict: _write_tree(git, verdict) for verdict in ("good", "bad", "skip")}
    shape = [_choose_parents(random, number) for number in range(size - 1)]
    shape.append(sorted(set(range(size - 1)) - {parent for above in shape for parent in above}))
    culprit = random.randrange(1, size - 1)
    bad_numbers = {culprit}
    names: list[str] = []
    for number, above in enumerate(shape):
        if bad_numbers.intersection(above):
            bad_numbers.add(number)
        verdict: Verdict = "bad" if number in bad_numbers else "good"
        if 0 < number < size - 1 and random.random() < skips:
            verdict = "skip"
        parents = tuple(names[parent] for parent in above)
        options = [part for parent in parents for part in ("-p", parent)]
        name = git("commit-tree", trees[verdict], *options, "-m", f"commit {number}")
        names.append(name)
        history.parents[name], history.verdicts[name] = parents, verdict
    history.first_bad = names[culprit]
    git("reset", "--quiet", "--hard", names[-1])
    return history


def _choose_parents(random: Random, number: int) -> list[int]:
    """Return the parents of a commit among the last few."""
    if number == 0:
        return []
    recent = range(max(0, number - 4), number)
    count = 2 if random.random() < 0.3 and len(recent) > 1 else 1
    return sorted(random.sample(recent, count))


def _write_tree(git: Git, verdict: str) -> str:
    git.write(verdict=verdict)
    git("add", "verdict")
    return git("write-tree")
