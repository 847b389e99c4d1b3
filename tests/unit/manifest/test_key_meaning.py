"""What each key of a manifest means; a new key fails here until somebody has said it."""

from typing import Annotated

import pytest
from pydantic import BaseModel

from isosmoke.manifest.key_meaning import Meaning, Unjudged, by_key, changes, meanings
from isosmoke.manifest.models import (
    Allowance,
    Gate,
    Leaks,
    Limits,
    Requires,
    Retention,
    Scenario,
    Settings,
)
from support.paths import ROOT

TABLES = (Scenario, Settings, Requires, Limits, Gate, Retention)
PLAIN = Scenario(name="one", script="one.sh")
DB = {"name": "db", "image": "a"}

REFUSED: dict[str, tuple[object, object]] = {
    "timeout_seconds": (60, 59),
    "requires": ({}, {"commands": ["no-such-program"]}),
    "leaks": ("fail", "report"),
    "retries": (0, 1),
    "settle_seconds": (2, 3),
    "aliases": (["zero"], []),
    "owners": (["a", "b"], ["b"]),
    "assertion": ("It holds.", " "),
}
NOTED: dict[str, tuple[object, object]] = {
    "image": ("host", "debian"),
    "services": ([DB], [{**DB, "image": "b"}]),
    "network": ("host", "isolated"),
    "env": ({"A": "1"}, {"A": "2"}),
    "pass_env": (["A"], []),
    "pass_files": ([], ["~/x"]),
    "tags": (["fast"], ["slow"]),
    "limits": ({"open_files": 77}, {"open_files": 78}),
    "capabilities": ([], ["IPC_LOCK"]),
}
HARMLESS: dict[str, tuple[object, object]] = {
    "name": ("one", "two"),
    "script": ("one.sh", "two.sh"),
    "locks": (["a"], ["b"]),
    "grace_seconds": (5, 1),
    "new_namespaces": (False, True),
    "description": ("", "Words."),
}
CASES = {"refused": REFUSED, "noted": NOTED, "harmless": HARMLESS}


def told(model: type[BaseModel], key: str, values: tuple[object, object]) -> list[bool]:
    """Whether each change is refused, where a key had one value and now has the other."""
    needed = {"name": "one", "script": "one.sh"} if model is Scenario else {}
    was, is_now = (model.model_validate({**needed, key: value}) for value in values)
    return [one.refused for one in changes(was, is_now)]


@pytest.mark.parametrize("table", TABLES)
def test_every_key_has_one_meaning(table: type[BaseModel]) -> None:
    """A key is judged, or it is said why it need not be."""
    for key, meaning in meanings(table).items():
        if isinstance(meaning.change, Unjudged):
            assert meaning.change.reason, key


def test_every_key_of_a_scenario_is_shown_here() -> None:
    """A key that is added to a scenario is added to the cases of this file."""
    assert {key for cases in CASES.values() for key in cases} == Scenario.model_fields.keys()
    unjudged = {k for k, one in meanings(Scenario).items() if isinstance(one.change, Unjudged)}
    assert unjudged == HARMLESS.keys()


def test_tables_that_are_judged_by_key_are_all_known() -> None:
    """A table of another kind is judged as a whole, and that judge knows all of its keys."""
    nested = {key for key, one in meanings(Scenario).items() if one.change is by_key}

    assert nested == {"requires", "limits"}
    assert Leaks.model_fields.keys() == {"policy", "allow"}
    assert Allowance.model_fields.keys() == {"command", "reason", "until"}


@pytest.mark.parametrize(("key", "values"), REFUSED.items())
def test_less_is_refused(key: str, values: tuple[object, object]) -> None:
    """What asks for less than it did is refused, and the way back is not."""
    assert told(Scenario, key, values) == [True]
    assert True not in told(Scenario, key, values[::-1])


@pytest.mark.parametrize(("key", "values"), NOTED.items())
def test_what_only_a_reader_can_judge_is_noted(key: str, values: tuple[object, object]) -> None:
    """Both ways, and nothing is said of what is alike."""
    assert set(told(Scenario, key, values)) == {False}
    assert set(told(Scenario, key, values[::-1])) == {False}
    assert told(Scenario, key, (values[0], values[0])) == []


@pytest.mark.parametrize(("key", "values"), HARMLESS.items())
def test_harmless_change_is_not_told(key: str, values: tuple[object, object]) -> None:
    """Nothing is said of it."""
    assert told(Scenario, key, values) == []


@pytest.mark.parametrize("key", Requires.model_fields)
def test_any_further_requirement_is_refused(key: str) -> None:
    """One in place of another is one more: it can switch a scenario off."""
    assert told(Requires, key, (["A", "B"], ["B", "C"])) == [True]
    assert told(Requires, key, (["A", "B"], ["B", "B"])) == []


@pytest.mark.parametrize("key", [one for one in Limits.model_fields if one != "output"])
def test_any_other_limit_is_noted(key: str) -> None:
    """A limit may be lowered, raised, set and taken away: a reader is told."""
    for values in ((5, 6), (6, 5), (None, 5), (5, None)):
        assert told(Limits, key, values) == [False]


def test_values_of_an_environment_are_not_told() -> None:
    """A variable is named, and what it holds is not."""
    was, is_now = (PLAIN.model_copy(update={"env": {"A": value}}) for value in ("old", "new"))

    assert [one.words for one in changes(was, is_now)] == ["env: 'A' changed: read it"]


def test_documentation_says_how_each_key_is_judged() -> None:
    """Every key of an entry and of the gate stands in the table."""
    table = (ROOT / "docs/gate.md").read_text().partition("What `isosmoke check` judges")[2]
    keys = {key for one in (Scenario, Gate) for key in one.model_fields}

    assert {key for key in keys if f"`{key}" not in table} == set()


class _Vague(BaseModel):
    key: int = 0


class _Torn(BaseModel):
    key: Annotated[
        int,
        Meaning(makes_sandbox=True, change=Unjudged("a")),
        Meaning(makes_sandbox=False, change=Unjudged("b")),
    ] = 0


@pytest.mark.parametrize("table", [_Vague, _Torn])
def test_key_without_a_clear_meaning_is_an_error(table: type[BaseModel]) -> None:
    """No key is taken for harmless because nobody thought of it."""
    with pytest.raises(TypeError, match="key has"):
        meanings(table)
