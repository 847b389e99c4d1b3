"""Disk access of the manifest modules: only the loader, the discovery and the cache.

The cache has a store, which `isosmoke.host` writes.
"""

import ast
import tomllib
from pathlib import Path

import pytest

import isosmoke.manifest
from support.paths import ROOT

IMPURE = {"discovery", "loader", "validated_cache"}
DIRECTORY = Path(isosmoke.manifest.__path__[0])
VALIDATION = "validation"
MODULES = {
    "/".join(path.relative_to(DIRECTORY).with_suffix("").parts): path
    for directory in (DIRECTORY, DIRECTORY / VALIDATION)
    for path in directory.glob("*.py")
    if path.stem != "__init__"
}

# `Path.absolute` is not listed, since it only reads the name of the working directory.
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


def test_contract_covers_every_pure_module() -> None:
    """Every module is covered by the contract for a pure core, or listed as an exception here."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (pure,) = (
        contract for contract in settings["contracts"] if contract["name"] == "The core is pure"
    )
    prefix = "isosmoke.manifest."
    modules = {
        module.removeprefix(prefix)
        for module in pure["source_modules"]
        if module.startswith(prefix)
    }

    assert modules == {name.partition("/")[0] for name in MODULES.keys() - IMPURE}


@pytest.mark.parametrize("name", sorted(MODULES.keys() - IMPURE))
def test_pure_module_does_not_access_the_disk(name: str) -> None:
    """A pure module neither opens a path nor checks whether it exists."""
    nodes = list(ast.walk(ast.parse(MODULES[name].read_text())))
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)} & DISK
    names = {node.id for node in nodes if isinstance(node, ast.Name)} & {"open"}

    assert attributes | names == set()


@pytest.mark.parametrize("name", sorted(IMPURE - {"validated_cache"}))
def test_exception_is_needed(name: str) -> None:
    """Each exception does access the disk."""
    nodes = ast.walk(ast.parse(MODULES[name].read_text()))

    assert {node.attr for node in nodes if isinstance(node, ast.Attribute)} & DISK
