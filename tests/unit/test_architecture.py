"""The documented architecture matches the tree and the import contracts."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.paths import ROOT

PACKAGE = ROOT / "isosmoke"
PAGES = ("ARCHITECTURE.md", "CONTRIBUTING.md", "AGENTS.md", "docs/invariants.md")
MAX_LINES = {"ARCHITECTURE.md": 65, "CONTRIBUTING.md": 80, "AGENTS.md": 40}
MAX_MODULES = 10
MAX_ROOT_MODULES = 8

PACKAGES = sorted(file.parent for file in PACKAGE.rglob("__init__.py"))
SHELL = re.compile(r"^ {4}(sh dev|\.venv)\b.*$", re.MULTILINE)


def list_names(package: Path) -> Iterator[str]:
    """Yield the names of the modules and packages directly in a package, without `__init__`."""
    for path in package.iterdir():
        if path.suffix == ".py" and path.stem != "__init__":
            yield path.stem
        elif (path / "__init__.py").exists():
            yield path.name


def list_modules(package: Path) -> list[str]:
    """Return the names of the modules of a package, without `__init__` and packages."""
    return [path.stem for path in package.glob("*.py") if path.stem != "__init__"]


def read_map() -> list[list[str]]:
    """Return the names in each line of the map: an indented line that begins with names."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    lines = re.findall(r"^ {4}([a-z_]+/?(?:, [a-z_]+)*) {2,}\S", text, re.MULTILINE)
    return [[name.strip("/ ") for name in line.split(",")] for line in lines]


def read_layers() -> list[set[str]]:
    """Return the layers that import-linter enforces, the highest first."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    return [{name.strip() for name in re.split(r"[|:]", layer)} for layer in layers]


def format_path(path: Path) -> str:
    """Return a path as a page writes it."""
    return str(path.relative_to(ROOT))


def test_map_has_every_root_module_once() -> None:
    """The map lists every package and module of the root exactly once."""
    names = [name for line in read_map() for name in line]

    assert sorted(names) == sorted(set(list_names(PACKAGE)) - {"__main__"})


def test_layers_have_every_root_module_once() -> None:
    """The layers list every package and module of the root exactly once."""
    names = [name for layer in read_layers() for name in layer]

    assert sorted(names) == sorted(list_names(PACKAGE))


def test_map_has_order_of_layers() -> None:
    """The map lists the layers from top to bottom."""
    positions = {name: number for number, layer in enumerate(read_layers()) for name in layer}
    order = [positions[name] for line in read_map() for name in line]

    assert order == sorted(order)


@pytest.mark.parametrize("package", PACKAGES, ids=format_path)
def test_package_docstring_is_a_sentence(package: Path) -> None:
    """The first line of a package's docstring is a sentence."""
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""

    assert re.match(r"[A-Z].*\.(\s|$)", docstring.partition("\n")[0])


@pytest.mark.parametrize("package", PACKAGES, ids=format_path)
def test_package_has_few_modules(package: Path) -> None:
    """A package has a limited number of modules, the root an even smaller one."""
    limit = MAX_ROOT_MODULES if package == PACKAGE else MAX_MODULES

    assert len(list_modules(package)) <= limit, list_modules(package)


def test_unit_test_directories_match_packages() -> None:
    """Each directory of unit tests has the name of the package under test."""
    directories = {path.parent for path in (ROOT / "tests/unit").rglob("test_*.py")}
    names = {str(path.relative_to(ROOT / "tests/unit")) for path in directories}

    assert names <= {str(path.relative_to(PACKAGE)) for path in PACKAGES}


def test_unit_tests_run_no_commands_in_a_project() -> None:
    """Tests that do so take long, and are integration tests."""
    modules = [*(ROOT / "tests/unit").rglob("test_*.py")]

    assert len(modules) > 100
    assert [
        format_path(module)
        for module in modules
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ImportFrom)
        and node.module == "support.project"
        and "Project" in {alias.name for alias in node.names}
    ] == []


def find_paths(text: str) -> set[str]:
    """Return the paths of a page: words in backticks, or of a shell line, that have a slash."""
    lines = " ".join(line.group() for line in SHELL.finditer(text))
    quoted = " ".join(re.findall(r"`([^`]+)`", text))
    words = (word.partition("::")[0] for word in f"{quoted} {lines}".split())
    return {word for word in words if re.fullmatch(r"[\w.-]+/[\w./-]*|[\w-]+\.(md|toml|sh)", word)}


@pytest.mark.parametrize("page", PAGES)
def test_paths_in_pages_exist(page: str) -> None:
    """Each path in a page exists, relative to the repository or to the package."""
    paths = find_paths((ROOT / page).read_text())
    created_by_setup = {path for path in paths if path.startswith(".venv")}

    assert [
        path
        for path in sorted(paths - created_by_setup)
        if not (ROOT / path).exists() and not (PACKAGE / path).exists()
    ] == []


def test_pages_have_paths() -> None:
    """Every page contains a path, so that the previous test is not vacuous."""
    assert [page for page in PAGES if not find_paths((ROOT / page).read_text())] == []


@pytest.mark.parametrize("page", MAX_LINES)
def test_page_is_short(page: str) -> None:
    """A page is short enough for a new contributor to read it entirely."""
    assert len((ROOT / page).read_text().splitlines()) <= MAX_LINES[page]


def test_package_uses_one_decorator_of_classes_of_data() -> None:
    """Every module takes `dataclass` from `isosmoke.dataclass`, which takes less time to import."""
    imports = [
        f"{format_path(path)}: {line}"
        for path in PACKAGE.rglob("*.py")
        if path != PACKAGE / "dataclass.py"
        for line in path.read_text().splitlines()
        if re.match(r"from dataclasses import .*\bdataclass\b", line)
    ]

    assert imports == []
