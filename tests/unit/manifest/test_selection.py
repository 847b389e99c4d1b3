"""Which scenarios names and owners choose, and that choosing nothing is never silent."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.errors import ExitCode, NothingSelectedError
from isosmoke.manifest.filters import parse as parse_expression
from isosmoke.manifest.parser import parse
from isosmoke.manifest.selection import select


@dataclass(frozen=True)
class Entry:
    """As much of a scenario as selecting reads."""

    name: str
    owners: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    image: str = "host"


SCENARIOS = (
    Entry("tui_start", ("fix-tui", "fix-start")),
    Entry("daemon_start", ("fix-start",)),
    Entry("daemon_stop", ("fix-stop",), tags=("slow",)),
    Entry("Daemon_Stop"),
)

CHOSEN = {
    "nothing asked for": ([], [], ["tui_start", "daemon_start", "daemon_stop", "Daemon_Stop"]),
    "an exact name": (["daemon_stop"], [], ["daemon_stop"]),
    "names in another order": (["daemon_stop", "tui_start"], [], ["tui_start", "daemon_stop"]),
    "a glob": (["daemon_*"], [], ["daemon_start", "daemon_stop"]),
    "a name and a glob that meet": (["*_stop", "daemon_stop"], [], ["daemon_stop"]),
    "a glob of one character": (["?aemon_?top"], [], ["daemon_stop", "Daemon_Stop"]),
    "a glob of a set, in its case": (["[a-z]*_[Ss]top"], [], ["daemon_stop"]),
    "an owner": ([], ["fix-start"], ["tui_start", "daemon_start"]),
    "two owners": ([], ["fix-stop", "fix-tui"], ["tui_start", "daemon_stop"]),
    "a name and an owner": (["daemon_*"], ["fix-start"], ["daemon_start"]),
    "an unknown name": (["daemon"], [], None),
    "an owner's glob": ([], ["fix-*"], None),
    "part of an owner": ([], ["fix"], None),
    "a blank owner": ([], [""], None),
    "a name and an owner that never meet": (["tui_start"], ["fix-stop"], None),
}


@pytest.mark.parametrize(("names", "owners", "expected"), CHOSEN.values(), ids=CHOSEN)
def test_selection_is_what_was_asked_for(
    names: list[str], owners: list[str], expected: list[str] | None
) -> None:
    """Names and owners choose exactly these scenarios in manifest order, or are refused."""
    if expected is None:
        with pytest.raises(NothingSelectedError):
            select(SCENARIOS, names, owners)
    else:
        assert [one.name for one in select(SCENARIOS, names, owners)] == expected


def test_everything_unmatched_is_named_with_what_was_meant() -> None:
    """Each name, glob and owner that matches nothing is told; it may have been a command's."""
    names, owners = ["daemon_start", "deamon_stop", "x*", "zzz"], ["fix-stop", "fix-tiu"]
    with pytest.raises(NothingSelectedError) as caught:
        select(SCENARIOS, names, owners)

    assert caught.value.exit_code is ExitCode.NOTHING_SELECTED
    assert caught.value.hint.endswith("; a command comes after --")
    assert caught.value.message.splitlines() == [
        "no scenario is named 'deamon_stop'; did you mean 'daemon_stop'?",
        "no scenario is named 'x*'",
        "no scenario is named 'zzz'",
        "no scenario is owned by 'fix-tiu'; did you mean 'fix-tui'?",
    ]


def test_names_and_owners_that_never_meet_are_told() -> None:
    """Where each name and owner matches but none together, the error says so."""
    with pytest.raises(NothingSelectedError, match="both") as caught:
        select(SCENARIOS, ["tui_start"], ["fix-stop"])

    assert caught.value.hint


def test_no_scenarios_at_all_is_never_a_selection() -> None:
    """Selecting from nothing is refused, even when nothing was asked for."""
    with pytest.raises(NothingSelectedError, match="no scenarios"):
        select([])


def test_an_expression_narrows_what_names_and_owners_choose() -> None:
    """Only what all three mean is left, in manifest order."""
    chosen = select(SCENARIOS, ["daemon_*"], [], parse_expression("not tag(slow)"))

    assert [one.name for one in chosen] == ["daemon_start"]


def test_an_expression_that_leaves_nothing_is_refused() -> None:
    """Though each of its words fits something, no scenario is all of it."""
    with pytest.raises(NothingSelectedError, match=r"nothing is meant by tag\(slow\)") as caught:
        select(SCENARIOS, ["tui_start"], [], parse_expression("tag(slow)"))

    assert caught.value.hint


def test_a_word_of_an_expression_that_fits_nothing_is_told_with_the_rest() -> None:
    """A typo is refused where names and owners are, even where it only leaves out."""
    with pytest.raises(NothingSelectedError) as caught:
        select(SCENARIOS, ["zzz"], [], parse_expression("not tag(solw) or owner(/nobody/)"))

    assert caught.value.message.splitlines() == [
        "no scenario is named 'zzz'",
        "no scenario fits tag(solw); did you mean 'slow'?",
    ]


def test_scenarios_of_a_manifest_are_selected() -> None:
    """What is selected from a manifest are its own scenarios."""
    text = '[[scenario]]\nname = "a"\nscript = "a.sh"\nowners = ["fix-a"]\n'
    scenarios = parse(text, Path("/manifest.toml")).scenarios

    assert select(scenarios, ["a"], ["fix-a"]) == scenarios


@given(st.lists(st.text("ab*?[!]-", max_size=4), max_size=3))
def test_selected_scenarios_match_and_the_others_do_not(globs: list[str]) -> None:
    """Whatever is asked for, what is left out matches nothing asked for, and order is kept."""
    entries = tuple(Entry(name) for name in ("a", "b", "ab", "ba", "aab"))
    try:
        chosen = select(entries, globs)
    except NothingSelectedError:
        return

    matching = [one for one in entries if any(fnmatchcase(one.name, glob) for glob in globs)]
    assert list(chosen) == (matching if globs else list(entries))
