"""A registered engine is complete: protocol, contract, documentation, options and import rules.

The list of engines is `isosmoke.engines.ENGINES`, and nothing else repeats it by hand.
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
SHARED = {"base"}
"""The modules of the package that are no engine's."""


def members(protocol: type) -> set[str]:
    """Return the names that a protocol asks for."""
    return {name for name in vars(protocol) if not name.startswith("_")}


@pytest.mark.parametrize("name", [*ENGINES, FakeEngine.name])
def test_engine_has_what_the_protocol_asks_for(name: str) -> None:
    """Every member is there, and takes the same parameters."""
    kind = FakeEngine if name == FakeEngine.name else type(ENGINES[name]())

    for member in members(Engine):
        wanted, found = vars(Engine)[member], getattr(kind, member, None)
        assert found is not None, member
        if inspect.isfunction(wanted):
            assert [*inspect.signature(found).parameters] == [*inspect.signature(wanted).parameters]


@pytest.mark.parametrize("name", ENGINES)
def test_engine_knows_its_name(name: str) -> None:
    """Records and receipts have the name by which the engine is asked for again."""
    assert ENGINES[name]().name == name


def test_protocol_is_listed_where_engines_are_explained() -> None:
    """Who writes an engine reads every member that it must have."""
    (listed,) = re.findall(
        r"An engine makes sandboxes \(`isosmoke\.engines\.base`\): ([^.]*)\.", TESTING_PAGE
    )

    assert {*re.findall(r"`(\w+)`", listed)} == members(Engine)
    assert members(Sandbox) == {"channel", "changes", "peaks"}


def test_every_engine_is_in_the_contract_run() -> None:
    """All of them are held to the contract, for root and for an ordinary user."""
    assert sorted(ENGINES) == available.NAMES
    text = inspect.getsource(test_contract)
    for test in ("keeps_the_contract", "keeps_the_contract_for_an_ordinary_user"):
        marks = text.split(f"def test_engine_{test}(")[0].rsplit("\n\n\n", 1)[1]
        assert '@pytest.mark.parametrize("name", available.NAMES)' in marks


def test_every_engine_is_in_the_help() -> None:
    """`--engine` offers what is registered."""
    text = CliRunner().invoke(run.command, ["--help"], terminal_width=200).output

    assert f"--engine [{'|'.join((AUTO, *ENGINES))}]" in text


def test_every_engine_is_documented() -> None:
    """The page of the engines has a row on what each needs, and no row of another."""
    (table,) = re.findall(r"\| `--engine` \|.*?\n\n", ENGINES_PAGE, re.DOTALL)

    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [*ENGINES]


def test_table_of_results_has_every_engine_and_no_count() -> None:
    """A count would be wrong with the next check; a deviation names a check or a scenario."""
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
def test_table_names_what_deviates(cell: str, verdict: str) -> None:
    """One bad cell is enough, and it is told by name and with its words."""
    column = dict.fromkeys((*CHECKS, *DECLARED), engine_table.GOOD) | {"passes": cell}

    text = engine_table.table({"docker, root": column, "podman, root": "no daemon"})

    assert f"| docker, root | all | {verdict} |" in text
    assert "| podman, root | not run: no daemon | |" in text
    assert (f"- docker, root, `passes`: {cell}" in text) == (cell != engine_table.GOOD)


def test_every_engine_is_a_module_of_its_own() -> None:
    """The package holds what engines share, and one module or package for each engine."""
    found = {module.name for module in pkgutil.iter_modules(engines.__path__)}

    assert found == {*ENGINES} | SHARED


def test_rule_of_independence_names_no_engine_by_hand() -> None:
    """A new engine is under the rule from its first import; only Podman may use Docker's."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    (rule,) = (one for one in contracts if one["name"] == "Engines do not know their siblings")

    assert rule["modules"] == ["isosmoke.engines.*"]
    assert rule["ignore_imports"] == [
        "isosmoke.engines.** -> isosmoke.engines.base",
        "isosmoke.engines.podman -> isosmoke.engines.docker.*",
    ]
