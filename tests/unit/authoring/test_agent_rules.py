"""The rules for agents, and their insertion into existing files."""

import pytest

from isosmoke.authoring import agent_rules
from isosmoke.authoring.agent_rules import BEGIN, END, insert_rules
from isosmoke.errors import UsageError

BLOCK = f"{BEGIN}\n{agent_rules.read_rules()}{END}"


@pytest.mark.parametrize(
    "phrase",
    ["isosmoke gate TASK", "isosmoke done TASK", "isosmoke new", "MUST", "--skip-smoke", "unset"],
)
def test_rules_name_duties_of_agents(phrase: str) -> None:
    """The rules cover running, finishing, adding and never bypassing."""
    assert phrase in agent_rules.read_rules()


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
def test_rules_are_inserted_once(document: str, expected: str) -> None:
    """The rules go between the markers or to the end, and a second insertion changes nothing."""
    assert insert_rules(document) == expected
    assert insert_rules(expected) == expected


@pytest.mark.parametrize(
    "document",
    [BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}", f"{BEGIN}{BEGIN}{END}"],
)
def test_unpaired_markers_are_an_error(document: str) -> None:
    """Unpaired markers are an error, since the text between them is unclear."""
    with pytest.raises(UsageError, match="isosmoke:") as raised:
        insert_rules(document)

    assert BEGIN in raised.value.hint
