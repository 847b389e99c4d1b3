"""A new command, report or engine needs one file or one line, and every surface has it at once."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import isosmoke
from support.command_source import COMPLETE

PACKAGE = Path(isosmoke.__file__).parent


@pytest.fixture
def package_copy(tmp_path: Path) -> Path:
    """Return a copy of isosmoke that a test may extend."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "isosmoke", ignore=ignored)
    return tmp_path / "isosmoke"


def run_copy(copy: Path, *arguments: str, **variables: str) -> str:
    """Return the output of a copy of isosmoke, stdout and stderr combined."""
    done = subprocess.run(
        [sys.executable, "-m", "isosmoke", *arguments],
        cwd=copy.parent,
        env={**os.environ, "COLUMNS": "200", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


def insert_after(registry: Path, line: str, new_line: str) -> None:
    """Insert a line after an existing one in the source of a registry."""
    source = registry.read_text()
    assert source.count(line) == 1
    registry.write_text(source.replace(line, line + new_line))


def complete(copy: Path, line: str) -> list[str]:
    """Return the completions that a copy offers at the end of a line."""
    variables = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    output = run_copy(copy, **variables, _ISOSMOKE_COMPLETE="bash_complete")
    return [item.removeprefix("plain,") for item in output.split()]


def test_command_is_one_module(package_copy: Path) -> None:
    """A new file is enough to run, list, complete and describe a command."""
    (package_copy / "cli/project/greet.py").write_text(COMPLETE)

    assert run_copy(package_copy, "greet", "Ada") == "hello Ada\n"
    assert re.search(r"^  greet +Greet a user\.$", run_copy(package_copy, "--help"), re.MULTILINE)
    assert complete(package_copy, "isosmoke gree") == ["greet"]
    assert complete(package_copy, "isosmoke greet --js") == ["--json"]
    assert re.search(r"^greeting +greet --json$", run_copy(package_copy, "schema"), re.MULTILINE)


def test_report_kind_is_one_line_of_the_registry(package_copy: Path) -> None:
    """Options, help texts and cached completions include a new kind of report at once."""
    before = complete(package_copy, "isosmoke report --as b")
    registry = package_copy / "reports/__init__.py"
    insert_after(registry, '    "html": _render_html,\n', '    "brief": lambda run: run.id,\n')

    assert before == []
    assert complete(package_copy, "isosmoke report --as b") == ["brief"]
    assert "|brief|github]" in run_copy(package_copy, "report", "--help")
    assert "html=, brief=FILE" in " ".join(run_copy(package_copy, "run", "--help").split())
    assert "--report brief requires a file" in run_copy(package_copy, "run", "--report", "brief")


def test_new_engine_is_completed(package_copy: Path) -> None:
    """Cached completions are discarded once the registry of engines has changed."""
    before = complete(package_copy, "isosmoke run --engine e")
    registry = package_copy / "engines/__init__.py"
    insert_after(registry, '    "docker": _create_docker,\n', '    "extra": _create_docker,\n')

    assert before == []
    assert complete(package_copy, "isosmoke run --engine e") == ["extra"]
