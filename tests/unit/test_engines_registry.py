"""Completeness of registered engines: protocol, contract, documentation, options and import rules.

`isosmoke.engines.ENGINES` is the only list of engines.
"""

import inspect
import pkgutil
import re
import tomllib

import pytest
from click.testing import CliRunner

from engines import engine_table, test_contract
from isosmoke import engines
from isosmoke.cli.scenarios import run
from isosmoke.engines import AUTO, ENGINES
from isosmoke.engines.base import Engine, Sandbox
from isosmoke.testing import CONTRACT, FakeEngine
from support import available
from support.corpus import DECLARED
from support.paths import ROOT

ENGINES_PAGE = (ROOT / "docs/engines.md").read_text()
TESTING_PAGE = (ROOT / "docs/testing.md").read_text()
CHECKS = [check.__name__ for check in CONTRACT]
SHARED = {"base", "daemon_options", "sandboxes_ahead"}
"""The modules of the package that are not engines."""


def list_members(protocol: type) -> set[str]:
    """Return the public list_members of a protocol."""
    return {name for name in vars(protocol) if not name.startswith("_")}


@pytest.mark.parametrize("name", [*ENGINES, FakeEngine.name])
def test_engine_implements_the_protocol(name: str) -> None:
    """Every member exists and takes the same parameters."""
    engine_class = FakeEngine if name == FakeEngine.name else type(ENGINES[name]())

    for member in list_members(Engine):
        expected, actual = vars(Engine)[member], getattr(engine_class, member, None)
        assert actual is not None, member
        if inspect.isfunction(expected):
            assert [*inspect.signature(actual).parameters] == [
                *inspect.signature(expected).parameters
            ]


@pytest.mark.parametrize("name", ENGINES)
def test_engine_knows_its_name(name: str) -> None:
    """An engine has the name under which it is registered."""
    assert ENGINES[name]().name == name


def test_protocol_members_are_documented() -> None:
    """The documentation lists every member of the protocols."""
    (text,) = re.findall(
        r"An engine makes sandboxes \(`isosmoke\.engines\.base`\): ([^.]*)\.", TESTING_PAGE
    )

    assert {*re.findall(r"`(\w+)`", text)} == list_members(Engine)
    assert list_members(Sandbox) == {"channel", "changes", "find_reached_limits", "peaks"}


def test_contract_runs_on_every_engine() -> None:
    """The contract is checked for every engine, as root and as an ordinary user."""
    assert sorted(ENGINES) == available.ENGINE_NAMES
    text = inspect.getsource(test_contract)
    for test in ("keeps_the_contract", "keeps_the_contract_for_an_ordinary_user"):
        marks = text.split(f"def test_engine_{test}(")[0].rsplit("\n\n\n", 1)[1]
        assert '@pytest.mark.parametrize("name", available.ENGINE_NAMES)' in marks


def test_help_lists_every_engine() -> None:
    """`--engine` lists the registered engines."""
    text = CliRunner().invoke(run.command, ["--help"], terminal_width=200).output

    assert f"--engine [{'|'.join((AUTO, *ENGINES))}]" in text


def test_every_engine_is_documented() -> None:
    """The table of requirements has one row for each engine."""
    (table,) = re.findall(r"\| `--engine` \|.*?\n\n", ENGINES_PAGE, re.DOTALL)

    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [*ENGINES]


def test_results_table_has_every_engine_and_no_count() -> None:
    """The table has no counts, which go stale; a deviation names a check or a scenario."""
    table = ENGINES_PAGE.split(engine_table.BEGIN)[1].split(engine_table.END)[0]

    listed = re.findall(r"^\| (\w+), ", table, re.MULTILINE)
    assert list(dict.fromkeys(listed)) == ["engine", *sorted(ENGINES)]
    assert not re.search(r"\d+ of \d+", table)
    deviations = {*re.findall(r"^- .*?, `(\w+)`: ", table, re.MULTILINE)}
    assert deviations <= {*CHECKS, *DECLARED}


@pytest.mark.parametrize(
    ("cell", "verdict"),
    [(engine_table.GOOD, "all"), ("LEAK, declared PASS", "all but those below")],
)
def test_results_table_lists_deviations(cell: str, verdict: str) -> None:
    """One bad cell changes the verdict and is listed with its name and reason."""
    column = dict.fromkeys((*CHECKS, *DECLARED), engine_table.GOOD) | {"passes": cell}

    text = engine_table.render_table({"docker, root": column, "podman, root": "no daemon"})

    assert f"| docker, root | all | {verdict} |" in text
    assert "| podman, root | not run: no daemon | |" in text
    assert (f"- docker, root, `passes`: {cell}" in text) == (cell != engine_table.GOOD)


def test_every_engine_has_its_own_module() -> None:
    """Each engine has its own module or package."""
    modules = {module.name for module in pkgutil.iter_modules(engines.__path__)}

    assert modules == {*ENGINES} | SHARED


def test_import_rule_covers_all_engines() -> None:
    """The import rule covers new engines automatically; only Podman may import Docker."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    (rule,) = (
        contract
        for contract in contracts
        if contract["name"] == "Engines do not know their siblings"
    )

    assert rule["modules"] == ["isosmoke.engines.*"]
    assert rule["ignore_imports"] == [
        *(f"isosmoke.engines.** -> isosmoke.engines.{module}" for module in sorted(SHARED)),
        "isosmoke.engines.podman -> isosmoke.engines.docker.*",
        "isosmoke -> isosmoke.api",  # the root only names the API
    ]
