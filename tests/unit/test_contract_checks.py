"""The contract lists every check once, in a stable order."""

import inspect
import pkgutil
from importlib import import_module
from types import ModuleType

import pytest

from isosmoke.testing import CONTRACT, contract
from isosmoke.testing.contract import checks

MODULES = [
    import_module(f"{contract.__name__}.{module.name}")
    for module in pkgutil.iter_modules(contract.__path__)
]


def list_checks(module: ModuleType) -> list[str]:
    """Return the names of a module's functions that take an engine and a bench, in order."""
    return [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and not name.startswith("_")
        and list(inspect.signature(value).parameters)[:2] == ["engine", "bench"]
    ]


def test_every_module_is_in_contract() -> None:
    """Every module with checks is listed, so that no check is skipped."""
    assert {*MODULES} - {*contract.SUBJECTS} == {checks}


def test_contract_lists_checks_in_order_of_definition() -> None:
    """Every check is listed in the order of its definition, so reports have stable rows."""
    names = [name for subject in contract.SUBJECTS for name in list_checks(subject)]

    assert [check.__name__ for check in CONTRACT] == names
    assert len({*names}) == len(names)


def test_every_check_is_documented() -> None:
    """Every check has a docstring for the author of an engine."""
    assert all(check.__doc__ for check in CONTRACT)


def test_check_is_attribute_of_contract() -> None:
    """A check is available by its name, without a search for its module."""
    assert [getattr(contract, check.__name__) for check in CONTRACT] == list(CONTRACT)
    with pytest.raises(AttributeError, match="no_such_check"):
        contract.no_such_check  # noqa: B018 - the look-up is under test
