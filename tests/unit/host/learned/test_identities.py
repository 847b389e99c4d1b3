"""The identity of a file changes with the file."""

import ast
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from isosmoke.host.learned.identities import identify_code, identify_file
from support.paths import ROOT


def rewrite(file: Path) -> None:
    """Write other content of the same size, and set the old modification time back."""
    status = file.stat()
    file.write_text("two")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(file: Path) -> None:
    """Replace a file by one with the same content."""
    other = file.with_name("other")
    other.write_text("one")
    other.rename(file)


def restrict(file: Path) -> None:
    """Change the mode of a file."""
    file.chmod(0o500)


@pytest.mark.parametrize("change", [rewrite, replace, restrict])
def test_identity_changes_with_the_file(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """A file that was written, replaced or given another mode has another identity."""
    file = tmp_path / "program"
    file.write_text("one")
    before = identify_file(file)

    assert identify_file(file) == before
    change(file)
    assert identify_file(file) != before


def test_code_is_identified_with_its_libraries() -> None:
    """The identity of code has an entry for the version, each module and each known library."""
    version, *modules = identify_code(("host/git.py",), ("click", "no_such_library"))

    assert isinstance(version, str)
    assert [Path(str(module[0])).name for module in modules if isinstance(module, list)] == [
        "git.py",
        "__init__.py",
    ]


def find_patterns() -> dict[str, str]:
    """Map each pattern of code that a module identifies to the module."""
    found: dict[str, str] = {}
    for module in (ROOT / "isosmoke").rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_CODE":
                found |= dict.fromkeys(ast.literal_eval(node.value), module.name)
    return found


def test_identified_code_exists() -> None:
    """Each pattern names code, so that code which was moved stays part of the identity."""
    patterns = find_patterns()

    assert {*patterns.values()} >= {"validated_cache.py", "host_mounts.py", "known_starts.py"}
    assert [name for name in patterns if not any((ROOT / "isosmoke").glob(name))] == []
