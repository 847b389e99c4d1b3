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
    shape = [_choose_parents(random, number) for number in range(size - 1)]
    shape.append(sorted(set(range(size - 1)) - {parent for above in shape for parent in above}))
    culprit = random.randrange(1, size - 1)
    bad_numbers = {culprit}
    verdicts: list[Verdict] = []
    for number, above in enumerate(shape):
        if bad_numbers.intersection(above):
            bad_numbers.add(number)
        verdicts.append("bad" if number in bad_numbers else "good")
        if 0 < number < size - 1 and random.random() < skips:
            verdicts[-1] = "skip"
    names = _import_commits(git, shape, verdicts)
    history.parents = {
        name: tuple(names[parent] for parent in above)
        for name, above in zip(names, shape, strict=True)
    }
    history.verdicts = dict(zip(names, verdicts, strict=True))
    history.first_bad = names[culprit]
    git("reset", "--quiet", "--hard", names[-1])
    return history


def _import_commits(git: Git, shape: list[list[int]], verdicts: list[Verdict]) -> list[str]:
    """Create commits with these parents and verdicts, by one process, and return their names."""
    commands = [
        _format_commit(number, above, verdict)
        for number, (above, verdict) in enumerate(zip(shape, verdicts, strict=True), 1)
    ]
    return git("fast-import", "--quiet", stdin="".join(commands)).split()


def _format_commit(mark: int, above: list[int], verdict: Verdict) -> str:
    """Return commands that create a commit and print its name; see git-fast-import(1)."""
    relations = ("from", *["merge"] * len(above))
    parents = (f"{word} :{number + 1}" for word, number in zip(relations, above, strict=False))
    lines = (
        "commit refs/heads/main",
        f"mark :{mark}",
        f"committer smoke <smoke@localhost> {1_700_000_000 + mark} +0000",
        *_format_data(f"commit {mark - 1}"),
        *parents,
        "M 100644 inline verdict",
        *_format_data(verdict),
        f"get-mark :{mark}",
    )
    return "".join(f"{line}\n" for line in lines)


def _format_data(text: str) -> tuple[str, str]:
    return f"data {len(text)}", text


def _choose_parents(random: Random, number: int) -> list[int]:
    """Return the parents of a commit among the last few."""
    if number == 0:
        return []
    recent = range(max(0, number - 4), number)
    count = 2 if random.random() < 0.3 and len(recent) > 1 else 1
    return sorted(random.sample(recent, count))
