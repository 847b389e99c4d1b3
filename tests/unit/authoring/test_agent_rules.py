"""The agents' rule, and its place in files that belong to somebody else."""

import pytest

from isosmoke.authoring import agent_rules
from isosmoke.authoring.agent_rules import BEGIN, END, placed
from isosmoke.errors import UsageError

BLOCK = f"{BEGIN}\n{agent_rules.text()}{END}"


@pytest.mark.parametrize(
    "words",
    ["isosmoke gate TASK", "isosmoke done TASK", "isosmoke new", "MUST", "--skip-smoke", "unset"],
)
def test_the_rule_says_what_agents_must_do(words: str) -> None:
    """Running, finishing, adding and never bypassing are all in it."""
    assert words in agent_rules.text()


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("", f"{BLOCK}\n"),
        ("# Mine\n", f"# Mine\n\n{BLOCK}\n"),
        ("# Mine", f"# Mine\n\n{BLOCK}\n"),
        ("# Mine\r\n", f"# Mine\n\n{BLOCK}\n".replace("\n", "\r\n")),
        ("\ufeff# Mine\n", f"\ufeff# Mine\n\n{BLOCK}\n"),
        (f"a\n{BEGIN}\nold\n{END}\nb", f"a\n{BLOCK}\nb"),
        (f"a {BEGIN}{END} b\n", f"a {BLOCK} b\n"),
    ],
)
def test_the_rule_is_placed_once(document: str, expected: str) -> None:
    """It stands between its markers, else at the end, and all else keeps its place; again, too."""
    assert placed(document) == expected
    assert placed(expected) == expected


@pytest.mark.parametrize(
    "document",
    [BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}", f"{BEGIN}{BEGIN}{END}"],
)
def test_markers_that_are_no_pair_are_an_error(document: str) -> None:
    """Nobody's words are replaced where it is not clear what lies between the markers."""
    with pytest.raises(UsageError, match="isosmoke:") as raised:
        placed(document)

    assert BEGIN in raised.value.hint
