"""The contract has every check that is written, once, in an order that does not change."""

import inspect
import pkgutil
from importlib import import_module
from types import ModuleType

import pytest

from isosmoke.testing import CONTRACT, contract
from isosmoke.testing.contract import checks

MODULES = [
    import_module(f"{contract.__name__}.{found.name}")
    for found in pkgutil.iter_modules(contract.__path__)
]


def public_functions(module: ModuleType) -> list[str]:
    """Return the names of the functions of a module that take an engine and a bench, in order."""
    return [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and not name.startswith("_")
        and list(inspect.signature(value).parameters)[:2] == ["engine", "bench"]
    ]


def test_each_subject_is_in_the_contract() -> None:
    """A module with checks that no list names would never be run."""
    assert {*MODULES} - {*contract.SUBJECTS} == {checks}


def test_contract_lists_every_check_in_the_order_of_its_definition() -> None:
    """No check is written and then forgotten, and a report has the same rows in each run."""
    written = [name for subject in contract.SUBJECTS for name in public_functions(subject)]

    assert [check.__name__ for check in CONTRACT] == written
    assert len({*written}) == len(written)


def test_every_check_says_what_it_is_about() -> None:
    """The name and the first line of a check are what an engine's author reads first."""
    assert all(check.__doc__ for check in CONTRACT)


def test_check_is_an_attribute_by_its_name() -> None:
    """A single check can be run without a search for its module."""
    assert [getattr(contract, check.__name__) for check in CONTRACT] == list(CONTRACT)
    with pytest.raises(AttributeError, match="no_such_check"):
        contract.no_such_check  # noqa: B018 - the look-up is what is tested
