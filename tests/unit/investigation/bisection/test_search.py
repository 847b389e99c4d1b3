"""The search for the first bad commit: its choices, its end, and equality with git bisect."""

import re
import subprocess
from pathlib import Path

import pytest

from isosmoke.errors import UsageError
from isosmoke.investigation.bisection import commits
from isosmoke.investigation.bisection.search import CommitSearch, Verdict
from support.git_repositories import Git
from support.histories import History, create_history

LINE = {str(number): ((str(number - 1),) if number > 1 else ()) for number in range(100, 0, -1)}
"""The commits 1 to 100, each the parent of the next; before 1 is a good one."""


def search(verdicts: dict[str, Verdict]) -> CommitSearch:
    """Return a search in which commit 100 is bad."""
    return CommitSearch(LINE, "100", verdicts)


def test_single_choice_halves_the_suspects() -> None:
    """One commit at a time divides the suspects into two halves."""
    assert search({}).choose(1) == ("50",)
    assert search({"50": "good"}).choose(1) == ("75",)
    assert search({"50": "bad"}).choose(1) == ("25",)


def test_several_choices_divide_the_suspects_evenly() -> None:
    """Three commits at a time divide them into four parts; running ones stand for theirs."""
    assert search({}).choose(3) == ("25", "50", "75")
    assert set(search({}).choose(2, ["50"])) == {"25", "75"}
    assert search({}).choose(0) == ()


def test_number_of_rounds_is_logarithmic() -> None:
    """Of 100 commits, 7 tests find the first bad one, and with three at a time 4 rounds."""
    for first_bad in (1, 2, 37, 50, 99):
        for jobs, rounds in ((1, 7), (3, 4)):
            verdicts: dict[str, Verdict] = {}
            for _ in range(rounds):
                for commit in search(verdicts).choose(jobs):
                    verdicts[commit] = "bad" if int(commit) >= first_bad else "good"
            assert search(verdicts).first_bad == str(first_bad)


def test_skipped_neighbours_leave_a_range() -> None:
    """If only skipped commits are left, each of them and the bad one after them is a suspect."""
    verdicts: dict[str, Verdict] = {"50": "good", "53": "bad", "51": "skip", "52": "skip"}

    assert search(verdicts).is_over
    assert search(verdicts).first_bad == ""
    assert search(verdicts).suspects == ("53", "52", "51")


def test_contradiction_is_named() -> None:
    """A commit that passes although it contains a bad one changes nothing, and is named."""
    late = search({"50": "bad", "75": "good"})
    early = search({"75": "good", "50": "bad"})

    assert (late.suspects[0], late.contradictions) == ("50", ("75",))
    assert (early.suspects[0], early.contradictions) == ("100", ("50",))
    assert search({"50": "bad", "75": "bad", "25": "good", "10": "good"}).contradictions == ()


def test_long_history_is_searched_quickly() -> None:
    """Only a sample of 50000 commits is weighed, and the choice is still near the middle."""
    line = {
        str(number): ((str(number - 1),) if number > 1 else ()) for number in range(50_000, 0, -1)
    }
    (chosen,) = CommitSearch(line, "50000").choose(1)

    assert 24_000 < int(chosen) < 26_000


def bisect_with_git(git: Git, history: History) -> set[str]:
    """Return the commits that `git bisect run` names: the first bad one, or all candidates."""
    git("bisect", "start", history.bad, history.good)
    script = "case $(cat verdict) in good) exit 0;; bad) exit 1;; *) exit 125;; esac"
    done = subprocess.run(
        ["git", "-C", str(git.top), "bisect", "run", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    git("bisect", "reset")
    if found := re.search(r"^([0-9a-f]{40}) is the first bad commit", done.stdout, re.MULTILINE):
        return {found[1]}
    _, _, listed = done.stdout.partition("The first bad commit could be any of:")
    return set(re.findall(r"^[0-9a-f]{40}$", listed, re.MULTILINE))


def bisect(git: Git, history: History, jobs: int) -> CommitSearch:
    """Return the search at its end, with `jobs` commits at a time."""
    found = commits.read_range(git.top, [history.good], history.bad)
    verdicts: dict[str, Verdict] = {}
    while not (state := CommitSearch(found.parents, found.bad.identity, verdicts)).is_over:
        chosen = state.choose(jobs)
        assert chosen
        verdicts |= {commit: history.verdicts[commit] for commit in chosen}
    return state


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("skips", [0.0, 0.3])
def test_result_equals_git_bisect(tmp_path: Path, seed: int, skips: float) -> None:
    """For random histories with merges and skips, the result is that of `git bisect run`.

    With skips, some results depend on the order of the tests; both are then within the bounds.
    """
    git = Git(tmp_path / "repository")
    history = create_history(git, seed, 30, skips=skips)
    expected = bisect_with_git(git, history)

    bounds = history.list_possible_results()

    assert any(least <= expected <= most for least, most in bounds)
    for jobs in (1, 3):
        found = set(bisect(git, history, jobs).suspects)
        assert history.first_bad in found
        assert any(least <= found <= most for least, most in bounds)
        if not skips or [least for least, _ in bounds] == [most for _, most in bounds[:1]]:
            assert found == expected


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [
        ("HEAD", "HEAD", "are the same commit"),
        ("HEAD", "HEAD~1", "does not contain"),
        ("nowhere", "HEAD", "git knows no revision 'nowhere'"),
        ("--all", "HEAD", "git knows no revision '--all'"),
    ],
)
def test_wrong_range_is_explained(tmp_path: Path, good: str, bad: str, message: str) -> None:
    """A range must lead from a good commit to a later bad one."""
    git = Git(tmp_path)
    git.commit("one")
    git.commit("two")

    with pytest.raises(UsageError, match=message):
        commits.read_range(git.top, [good], bad)


def test_ready_made_binaries_are_found_by_revision(tmp_path: Path) -> None:
    """Files and directories named by any revision are binaries; other entries are ignored."""
    git = Git(tmp_path / "repository")
    first, second = git.commit("one"), git.commit("two")
    directory = tmp_path / "binaries"
    (directory / second).mkdir(parents=True)
    (directory / second / "wg").write_text("")
    (directory / first[:10]).write_text("")
    (directory / "notes.txt").write_text("")
    (directory / "a..b").write_text("")

    assert commits.find_binaries(git.top, directory, "wg") == {
        first: directory / first[:10],
        second: directory / second / "wg",
    }
    (directory / first).write_text("")
    with pytest.raises(UsageError, match="two binaries of commit"):
        commits.find_binaries(git.top, directory, "wg")
    with pytest.raises(UsageError, match="no binary that is named by a revision"):
        commits.find_binaries(git.top, git.top, "wg")
