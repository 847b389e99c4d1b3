"""A command imports only what it uses: budgets of modules, since time depends on the machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support import available
from support.project import GOOD, Project

COUNT = """
import atexit, json, os, sys
before = set(sys.modules)
def write():
    with open(os.environ["MODULES"], "w") as file:
        json.dump(sorted(set(sys.modules) - before), file)
atexit.register(write)
sys.argv = ["isosmoke", *sys.argv[1:]]
from isosmoke.__main__ import main
main()
"""

SLOW = {"asyncio", "docker", "elftools", "httpx", "jinja2", "pydantic", "rich", "testcontainers"}
"""The libraries whose import takes longer than the rest of a short command."""

COMPLETION = {"_ISOSMOKE_COMPLETE": "bash_complete", "COMP_CWORD": "2"}

BUDGETS = {
    "--help": (("--help",), {}, 6, 77, set()),
    "completion of a scenario": (
        (),
        {**COMPLETION, "COMP_WORDS": "isosmoke run g"},
        20,
        114,
        set(),
    ),
    "list": (("list",), {}, 35, 124, set()),
    "list --json": (("list", "--json"), {}, 35, 124, set()),
    "run": (("run", "good"), {}, 166, 276, set()),
    "gate": (("gate", "task-a"), {}, 206, 421, {"pydantic"}),
}
"""Commands with their variables, the modules of isosmoke and all modules that they may import
beyond those of Python's own start, and the slow libraries among them."""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project with a scenario that passes."""
    return Project.within(tmp_path, GOOD)


def list_modules(project: Project, *arguments: str, **variables: str) -> list[str]:
    """Return the modules that a command imported, beyond those of Python's own start."""
    file = project.top.parent / "modules.json"
    done = subprocess.run(
        [sys.executable, "-c", COUNT, *arguments],
        cwd=project.top,
        env={**project.environment(), **variables, "MODULES": str(file)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    modules: list[str] = json.loads(file.read_text())
    return modules


@pytest.mark.parametrize("name", BUDGETS)
def test_command_stays_within_its_budget(project: Project, name: str) -> None:
    """The second start of a command imports few modules, and no slow library that it can avoid."""
    arguments, variables, own, every, slow = BUDGETS[name]
    if name in ("run", "gate"):
        available.require_engine("bubblewrap")
    list_modules(project, *arguments, **variables)

    modules = list_modules(project, *arguments, **variables)
    ours = [module for module in modules if module.split(".")[0] == "isosmoke"]
    assert SLOW.intersection(modules) <= slow
    assert len(ours) <= own, ours
    assert len(modules) <= every, modules


COLLECTING = """
import gc, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if gc.isenabled():
            print(name)
sys.meta_path.insert(0, Finder())
sys.argv = ["isosmoke", "run", "--help"]
from isosmoke.__main__ import main
main()
"""
"""Print the name of each module that is imported while the garbage collector works."""


def test_imports_look_for_no_garbage() -> None:
    """No garbage is looked for while the command line and a command are imported."""
    command = [sys.executable, "-c", COLLECTING]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()

    assert "isosmoke.__main__" in lines
    assert "isosmoke.inherited_state" in lines
    assert not {"click", "isosmoke.cli", "isosmoke.cli.scenarios.run", "isosmoke.execution"} & {
        *lines
    }


def test_changed_manifest_is_validated(project: Project) -> None:
    """The budget of `list` depends on a manifest that was valid before: a new one is validated."""
    list_modules(project, "list")
    project.manifest.write_text(GOOD.replace("good", "other").replace("other.sh", "good.sh"))

    assert "pydantic" in list_modules(project, "list")
    assert "pydantic" not in list_modules(project, "list")
