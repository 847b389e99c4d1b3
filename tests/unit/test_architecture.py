"""What is written about the architecture is what the tree and the import contracts say."""

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
MAX_ROOT_MODULES = 6

PACKAGES = sorted(file.parent for file in PACKAGE.rglob("__init__.py"))
SHELL = re.compile(r"^ {4}(sh dev|\.venv)\b.*$", re.MULTILINE)


def contents(package: Path) -> Iterator[str]:
    """Yield the names of the modules and packages right in a package, without `__init__`."""
    for one in package.iterdir():
        if one.suffix == ".py" and one.stem != "__init__":
            yield one.stem
        elif (one / "__init__.py").exists():
            yield one.name


def modules(package: Path) -> list[str]:
    """Return the names of the modules of a package, without `__init__` and without packages."""
    return [one.stem for one in package.glob("*.py") if one.stem != "__init__"]


def map_lines() -> list[list[str]]:
    """Return the names in each line of the map: an indented line that begins with names."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    lines = re.findall(r"^ {4}([a-z_]+/?(?:, [a-z_]+)*) {2,}\S", text, re.MULTILINE)
    return [[name.strip("/ ") for name in line.split(",")] for line in lines]


def layers() -> list[set[str]]:
    """Return the layers that import-linter holds, the highest first."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (written,) = [one["layers"] for one in contracts if one["type"] == "layers"]
    return [{name.strip() for name in re.split(r"[|:]", layer)} for layer in written]


def relative(path: Path) -> str:
    """Return a path as a page would write it."""
    return str(path.relative_to(ROOT))


def test_the_map_has_every_package_and_module_of_the_root_once() -> None:
    """Nothing is missing in the map, and nothing in it is gone."""
    named = [name for line in map_lines() for name in line]

    assert sorted(named) == sorted(set(contents(PACKAGE)) - {"__main__"})


def test_the_layers_have_every_package_and_module_of_the_root_once() -> None:
    """No entry of the layers is missing, and none is gone."""
    listed = [name for layer in layers() for name in layer]

    assert sorted(listed) == sorted(contents(PACKAGE))


def test_the_map_has_the_order_of_the_layers() -> None:
    """Whoever reads the map from top to bottom passes the layers one after another."""
    place = {name: number for number, layer in enumerate(layers()) for name in layer}
    order = [place[name] for line in map_lines() for name in line]

    assert order == sorted(order)


@pytest.mark.parametrize("package", PACKAGES, ids=relative)
def test_a_package_opens_with_a_sentence(package: Path) -> None:
    """Its first line says what it is for."""
    words = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""

    assert re.match(r"[A-Z].*\.(\s|$)", words.partition("\n")[0])


@pytest.mark.parametrize("package", PACKAGES, ids=relative)
def test_a_package_has_few_modules(package: Path) -> None:
    """What has more is two packages; at the root there is only what everything uses."""
    limit = MAX_ROOT_MODULES if package == PACKAGE else MAX_MODULES

    assert len(modules(package)) <= limit, modules(package)


def test_unit_tests_are_in_a_directory_of_their_package() -> None:
    """Whoever knows a package finds its tests."""
    directories = {one.parent for one in (ROOT / "tests/unit").rglob("test_*.py")}
    found = {str(one.relative_to(ROOT / "tests/unit")) for one in directories}

    assert found <= {str(one.relative_to(PACKAGE)) for one in PACKAGES}


def paths_in(text: str) -> set[str]:
    """Return what a page names as a path: words in backticks, or of a shell line, with a slash."""
    lines = " ".join(line.group() for line in SHELL.finditer(text))
    quoted = " ".join(re.findall(r"`([^`]+)`", text))
    words = (word.partition("::")[0] for word in f"{quoted} {lines}".split())
    return {one for one in words if re.fullmatch(r"[\w.-]+/[\w./-]*|[\w-]+\.(md|toml|sh)", one)}


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_a_page_names_exists(page: str) -> None:
    """A path is from the top of the repository, or from the package."""
    named = paths_in((ROOT / page).read_text())
    made_by_set_up = {one for one in named if one.startswith(".venv")}

    assert [
        one
        for one in sorted(named - made_by_set_up)
        if not (ROOT / one).exists() and not (PACKAGE / one).exists()
    ] == []


def test_every_page_names_a_path() -> None:
    """The test above does not pass because it found nothing."""
    assert [page for page in PAGES if not paths_in((ROOT / page).read_text())] == []


@pytest.mark.parametrize("page", MAX_LINES)
def test_a_page_is_short(page: str) -> None:
    """Whoever is new here reads it whole."""
    assert len((ROOT / page).read_text().splitlines()) <= MAX_LINES[page]
