"""Selection of scenarios by name, owner and expression; an empty selection is an error."""

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
    """The attributes of a scenario that a selection uses."""

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

REQUESTS = {
    "an empty request": ([], [], ["tui_start", "daemon_start", "daemon_stop", "Daemon_Stop"]),
    "an exact name": (["daemon_stop"], [], ["daemon_stop"]),
    "names in another order": (["daemon_stop", "tui_start"], [], ["tui_start", "daemon_stop"]),
    "a glob": (["daemon_*"], [], ["daemon_start", "daemon_stop"]),
    "a name and a glob that overlap": (["*_stop", "daemon_stop"], [], ["daemon_stop"]),
    "a glob of one character": (["?aemon_?top"], [], ["daemon_stop", "Daemon_Stop"]),
    "a glob of a set, in its case": (["[a-z]*_[Ss]top"], [], ["daemon_stop"]),
    "an owner": ([], ["fix-start"], ["tui_start", "daemon_start"]),
    "two owners": ([], ["fix-stop", "fix-tui"], ["tui_start", "daemon_stop"]),
    "a name and an owner": (["daemon_*"], ["fix-start"], ["daemon_start"]),
    "an unknown name": (["daemon"], [], None),
    "an owner's glob": ([], ["fix-*"], None),
    "part of an owner": ([], ["fix"], None),
    "a blank owner": ([], [""], None),
    "a name and an owner without a common scenario": (["tui_start"], ["fix-stop"], None),
}


@pytest.mark.parametrize(("names", "owners", "expected"), REQUESTS.values(), ids=REQUESTS)
def test_selection_matches_the_request(
    names: list[str], owners: list[str], expected: list[str] | None
) -> None:
    """Names and owners select exactly these scenarios in manifest order, or are refused."""
    if expected is None:
        with pytest.raises(NothingSelectedError):
            select(SCENARIOS, names, owners)
    else:
        assert [entry.name for entry in select(SCENARIOS, names, owners)] == expected


def test_unmatched_names_are_reported_with_suggestions() -> None:
    """Each name, glob and owner without a match is reported, with a hint about commands."""
    names, owners = ["daemon_start", "deamon_stop", "x*", "zzz"], ["fix-stop", "fix-tiu"]
    with pytest.raises(NothingSelectedError) as caught:
        select(SCENARIOS, names, owners)

    assert caught.value.exit_code is ExitCode.NOTHING_SELECTED
    assert caught.value.hint.endswith("; put a command after --")
    assert caught.value.message.splitlines() == [
        "no scenario is named 'deamon_stop'; did you mean 'daemon_stop'?",
        "no scenario is named 'x*'",
        "no scenario is named 'zzz'",
        "no scenario is owned by 'fix-tiu'; did you mean 'fix-tui'?",
    ]


def test_names_and_owners_without_common_scenario_are_reported() -> None:
    """If names and owners match only separately, the error says so."""
    with pytest.raises(
        NothingSelectedError, match="named 'tui_start' is owned by 'fix-stop'"
    ) as caught:
        select(SCENARIOS, ["tui_start"], ["fix-stop"])

    assert caught.value.hint


def test_selection_from_nothing_is_refused() -> None:
    """Selecting from no scenarios is an error, even without names and owners."""
    with pytest.raises(NothingSelectedError, match="no scenarios"):
        select([])


def test_expression_narrows_selection() -> None:
    """Only scenarios that match names, owners and expression are selected, in manifest order."""
    selected = select(SCENARIOS, ["daemon_*"], [], parse_expression("not tag(slow)"))

    assert [entry.name for entry in selected] == ["daemon_start"]


def test_expression_without_match_is_refused() -> None:
    """An expression is refused if each word matches a scenario, but no scenario matches it all."""
    with pytest.raises(NothingSelectedError, match=r"no scenario matches tag\(slow\)") as caught:
        select(SCENARIOS, ["tui_start"], [], parse_expression("tag(slow)"))

    assert caught.value.hint


def test_unmatched_word_of_expression_is_reported_with_names() -> None:
    """A typo in an expression is reported together with unmatched names, even after `not`."""
    with pytest.raises(NothingSelectedError) as caught:
        select(SCENARIOS, ["zzz"], [], parse_expression("not tag(solw) or owner(/nobody/)"))

    assert caught.value.message.splitlines() == [
        "no scenario is named 'zzz'",
        "no scenario matches tag(solw); did you mean 'slow'?",
    ]


def test_scenarios_of_a_manifest_are_selected() -> None:
    """The scenarios of a manifest can be selected."""
    text = '[[scenario]]\nname = "a"\nscript = "a.sh"\nowners = ["fix-a"]\n'
    scenarios = parse(text, Path("/manifest.toml")).scenarios

    assert select(scenarios, ["a"], ["fix-a"]) == scenarios


@given(st.lists(st.text("ab*?[!]-", max_size=4), max_size=3))
def test_selected_scenarios_match_and_the_others_do_not(globs: list[str]) -> None:
    """For any request, exactly the matching scenarios are selected, in their order."""
    entries = tuple(Entry(name) for name in ("a", "b", "ab", "ba", "aab"))
    try:
        selected = select(entries, globs)
    except NothingSelectedError:
        return

    matching = [entry for entry in entries if any(fnmatchcase(entry.name, glob) for glob in globs)]
    assert list(selected) == (matching if globs else list(entries))
