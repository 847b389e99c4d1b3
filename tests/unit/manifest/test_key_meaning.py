"""Meanings of manifest keys; a new key fails here until it has one."""

from dataclasses import dataclass
from typing import Annotated

import pytest

from isosmoke.manifest.key_meaning import (
    Meaning,
    Unjudged,
    collect_meanings,
    find_changes,
    judge_table,
)
from isosmoke.manifest.models import (
    Allowance,
    Gate,
    Growth,
    Leaks,
    Limits,
    Requires,
    Retention,
    Scenario,
    Settings,
)
from isosmoke.manifest.table_base import Table, list_keys
from support.paths import ROOT

TABLES = (Scenario, Settings, Requires, Limits, Gate, Growth, Retention)
PLAIN = Scenario(name="one", script="one.sh")
DB = {"name": "db", "image": "a"}

REFUSED: dict[str, tuple[object, object]] = {
    "requires": ({}, {"commands": ["no-such-program"]}),
    "leaks": ("fail", "report"),
    "retries": (0, 1),
    "settle_seconds": (2, 3),
    "aliases": (["zero"], []),
    "owners": (["a", "b"], ["b"]),
    "teeth": (["done", "service stop"], ["done"]),
    "assertion": ("It holds.", " "),
}
CHANGED: dict[str, tuple[object, object]] = {
    "image": ("host", "debian"),
    "services": ([DB], [{**DB, "image": "b"}]),
    "network": ("host", "isolated"),
    "env": ({"A": "1"}, {"A": "2"}),
    "pass_env": (["A"], []),
    "pass_files": ([], ["~/x"]),
    "plain_env": (["A"], []),
    "plain_files": ([], ["~/x"]),
    "capabilities": ([], ["IPC_LOCK"]),
    "cache": ([], ["cargo"]),
    "new_namespaces": (False, True),
}
NOTED: dict[str, tuple[object, object]] = {"timeout_seconds": (60, 59)}
LIMITED: dict[str, tuple[object, object]] = {"limits": ({"memory": 77}, {"memory": 78})}
HARMLESS: dict[str, tuple[object, object]] = {
    "name": ("one", "two"),
    "script": ("one.sh", "two.sh"),
    "locks": (["a"], ["b"]),
    "weight": (1, 2),
    "tags": (["fast"], ["slow"]),
    "grace_seconds": (5, 1),
    "description": ("", "A text."),
}
CASES = (REFUSED, CHANGED, NOTED, LIMITED, HARMLESS)


def judge(model: type[Table], key: str, values: tuple[object, object]) -> list[bool]:
    """Return for each change between two values of a key whether it is refused."""
    needed = {"name": "one", "script": "one.sh"} if model is Scenario else {}
    was, is_now = (model.validate({**needed, key: value}) for value in values)
    return [change.refused for change in find_changes(was, is_now)]


@pytest.mark.parametrize("table", TABLES)
def test_every_key_has_one_meaning(table: type[Table]) -> None:
    """Each key is judged, or has a reason why it need not be."""
    for key, meaning in collect_meanings(table).items():
        if isinstance(meaning.judge, Unjudged):
            assert meaning.judge.reason, key


def test_every_scenario_key_has_a_case() -> None:
    """Each key of a scenario has a case in this file."""
    assert {key for cases in CASES for key in cases} == set(list_keys(Scenario))
    meanings = collect_meanings(Scenario).items()
    unjudged = {key for key, meaning in meanings if isinstance(meaning.judge, Unjudged)}
    assert unjudged == HARMLESS.keys()


def test_tables_judged_by_key_are_known() -> None:
    """Any other table is judged as a whole, by a judge that covers all of its keys."""
    meanings = collect_meanings(Scenario).items()
    nested = {key for key, meaning in meanings if meaning.judge is judge_table}

    assert nested == {"requires", "limits"}
    assert set(list_keys(Leaks)) == {"policy", "allow"}
    assert set(list_keys(Allowance)) == {"command", "reason", "until"}


@pytest.mark.parametrize(("key", "values"), REFUSED.items())
def test_weakening_is_refused(key: str, values: tuple[object, object]) -> None:
    """A weakening is refused, and the reverse change is not."""
    assert judge(Scenario, key, values) == [True]
    assert True not in judge(Scenario, key, values[::-1])


@pytest.mark.parametrize(("key", "values"), [*CHANGED.items(), *NOTED.items()])
def test_change_in_either_direction_is_reported(key: str, values: tuple[object, object]) -> None:
    """A change that can hide a failure is refused, a new deadline noted, in both directions."""
    assert judge(Scenario, key, values) == [key in CHANGED]
    assert judge(Scenario, key, values[::-1]) == [key in CHANGED]
    assert judge(Scenario, key, (values[0], values[0])) == []


@pytest.mark.parametrize(("key", "values"), HARMLESS.items())
def test_harmless_change_is_not_reported(key: str, values: tuple[object, object]) -> None:
    """A harmless change is not reported."""
    assert judge(Scenario, key, values) == []


@pytest.mark.parametrize("key", list_keys(Requires))
def test_new_requirement_is_refused(key: str) -> None:
    """A replaced requirement counts as a new one, since it can cause a skip."""
    assert judge(Requires, key, (["A", "B"], ["B", "C"])) == [True]
    assert judge(Requires, key, (["A", "B"], ["B", "B"])) == []


@pytest.mark.parametrize("key", [key for key in list_keys(Limits) if key != "output"])
def test_raised_limit_is_refused(key: str) -> None:
    """A limit that is raised or removed is refused; one that is lowered or added is noted."""
    for values in ((5, 6), (5, None)):
        assert judge(Limits, key, values) == [True]
        assert judge(Limits, key, values[::-1]) == [False]


def test_environment_values_are_not_reported() -> None:
    """The name of a changed variable is reported, but not its value."""
    was, is_now = (PLAIN.change(env={"A": value}) for value in ("old", "new"))

    assert [change.text for change in find_changes(was, is_now)] == [
        "env: 'A' changed, which can hide a failure"
    ]


def test_documentation_covers_each_key() -> None:
    """Each key of a scenario, of the gate and of the check is in the table of docs/gate.md."""
    table = (ROOT / "docs/gate.md").read_text().partition("What `isosmoke check` judges")[2]
    keys = {key for model in (Scenario, Gate, Growth) for key in list_keys(model)}

    assert {key for key in keys if f"`{key}" not in table} == set()


@dataclass(frozen=True, kw_only=True)
class _WithoutMeaning(Table):
    key: int = 0


@dataclass(frozen=True, kw_only=True)
class _WithTwoMeanings(Table):
    key: Annotated[
        int,
        Meaning(makes_sandbox=True, judge=Unjudged("a")),
        Meaning(makes_sandbox=False, judge=Unjudged("b")),
    ] = 0


@pytest.mark.parametrize("table", [_WithoutMeaning, _WithTwoMeanings])
def test_key_without_exactly_one_meaning_is_an_error(table: type[Table]) -> None:
    """A key without a meaning or with two is an error."""
    with pytest.raises(TypeError, match="key has"):
        collect_meanings(table)
