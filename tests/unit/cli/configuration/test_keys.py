"""The keys of the configuration, and the order in which their values are looked for."""

import pytest

from isosmoke.cli.configuration.keys import KEYS, Given, choose, read_document
from isosmoke.errors import UsageError


def refuse(message: str, hint: str) -> None:
    """Raise as the loader does."""
    raise UsageError(message, hint)


def get(name: str, given: dict[str, Given], environment: dict[str, str]) -> tuple[object, str, str]:
    """Return value, origin and source of a key."""
    item = next(item for item in choose(given, environment, refuse) if item.key.full_name == name)
    return item.value, item.origin, item.source


def test_variable_comes_before_file_and_default() -> None:
    """The nearest wins; an empty variable is not set."""
    given = {"run.jobs": Given(3, "config.toml:2")}

    assert get("run.jobs", {}, {}) == (None, "default", "")
    assert get("run.jobs", given, {"ISOSMOKE_JOBS": ""}) == (3, "file", "config.toml:2")
    assert get("run.jobs", given, {"ISOSMOKE_JOBS": "5"}) == (5, "environment", "ISOSMOKE_JOBS")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("ISOSMOKE_JOBS", "0", "ISOSMOKE_JOBS must be an integer from 1, not '0'"),
        ("ISOSMOKE_JOBS", "9" * 5000, "ISOSMOKE_JOBS must be an integer from 1, not '999"),
        ("ISOSMOKE_JOBS", "many", "ISOSMOKE_JOBS must be an integer from 1, not 'many'"),
        ("ISOSMOKE_ENGINE", "dokcer", "did you mean 'docker'?"),
    ],
)
def test_invalid_variable_is_refused(variable: str, value: str, message: str) -> None:
    """The message has the variable, its value and a suggestion."""
    with pytest.raises(UsageError) as error:
        list(choose({}, {variable: value}, refuse))

    assert message in str(error.value)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"run": {"jbos": 3}}, "is an unknown key; did you mean 'jobs'?"),
        ({"rnu": {}}, "is an unknown table; did you mean 'run'?"),
        ({"jobs": 3}, "belongs into the table [run]"),
        ({"run": {"color": "auto"}}, "belongs into the table [display]"),
        ({"run": 3}, "must be a table"),
        ({"run": {"jobs": True}}, "must be an integer from 1, not True"),
        ({"run": {"jobs": "3"}}, "must be an integer from 1, not '3'"),
        ({"display": {"color": "nevre"}}, "not 'nevre'; did you mean 'never'?"),
        ({"run": {"engine": ["docker"]}}, "must be one of auto, "),
        ({"gate": {"max_skips": 9}}, "is an unknown table"),
    ],
)
def test_mistake_is_described(document: dict[str, object], text: str) -> None:
    """A mistake is never ignored."""
    _, mistakes = read_document(document)

    assert len(mistakes) == 1
    assert text in mistakes[0].text
    assert mistakes[0].hint


def test_no_key_is_one_of_the_gate() -> None:
    """The keys are presentation and local habits: a new key must be considered here."""
    assert {key.full_name for key in KEYS} == {
        *("run.jobs", "run.engine", "run.evidence"),
        *("display.status_level", "display.color"),
    }


def test_every_key_takes_its_default() -> None:
    """A default of None leaves the value to isosmoke."""
    assert all(key.default is None or key.accepts(key.default) for key in KEYS)
    assert all(key.meaning and key.variable.startswith("ISOSMOKE_") for key in KEYS)
