"""Which modules of the manifest may read the disk: the loader and the discovery, by name."""

import ast
import tomllib
from pathlib import Path

import pytest

import isosmoke.manifest
from support.paths import ROOT

IMPURE = {"discovery", "loader"}
FOLDER = Path(isosmoke.manifest.__path__[0])
MODULES = {path.stem: path for path in FOLDER.glob("*.py") if path.stem != "__init__"}

# `Path.absolute` is left out: it reads no more than the name of the working folder.
DISK = {
    "chmod",
    "cwd",
    "exists",
    "expanduser",
    "glob",
    "home",
    "is_dir",
    "is_file",
    "is_symlink",
    "iterdir",
    "lstat",
    "mkdir",
    "open",
    "read_bytes",
    "read_text",
    "readlink",
    "rename",
    "resolve",
    "rglob",
    "samefile",
    "stat",
    "symlink_to",
    "touch",
    "unlink",
    "write_bytes",
    "write_text",
}


def test_contract_names_every_module_but_those_that_read_the_disk() -> None:
    """A new module is under the contract for a pure core, or is a named exception here."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (pure,) = (one for one in settings["contracts"] if one["name"] == "The core is pure")
    prefix = "isosmoke.manifest."
    named = {one.removeprefix(prefix) for one in pure["source_modules"] if one.startswith(prefix)}

    assert named == MODULES.keys() - IMPURE


@pytest.mark.parametrize("name", sorted(MODULES.keys() - IMPURE))
def test_pure_module_asks_nothing_of_the_disk(name: str) -> None:
    """A path is data there: nothing opens it, or asks whether it exists."""
    nodes = list(ast.walk(ast.parse(MODULES[name].read_text())))
    asked = {one.attr for one in nodes if isinstance(one, ast.Attribute)} & DISK
    opened = {one.id for one in nodes if isinstance(one, ast.Name)} & {"open"}

    assert asked | opened == set()


@pytest.mark.parametrize("name", sorted(IMPURE))
def test_exception_is_needed(name: str) -> None:
    """A module that reads the disk no more is no exception any more."""
    nodes = ast.walk(ast.parse(MODULES[name].read_text()))

    assert {one.attr for one in nodes if isinstance(one, ast.Attribute)} & DISK
