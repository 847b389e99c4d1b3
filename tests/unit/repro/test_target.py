"""The target of `isosmoke repro`: from the command line, or from the record of a past run."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from isosmoke.errors import RecordError, UsageError
from isosmoke.execution.request import Request
from isosmoke.host.caller_process import Caller
from isosmoke.manifest.models import Scenario
from isosmoke.repro import target
from isosmoke.repro.target import Case


def create_case(argv: tuple[str, ...] = (), script: Path | None = None) -> Case:
    """Return a case without a manifest."""
    request = Request(scenarios=(target.create_scenario(argv, script),), argv=argv)
    return Case(request=request, caller=Caller.current())


def test_command_line_is_quoted_for_a_shell() -> None:
    """A command is named after its program, and its command line is quoted."""
    case = create_case(("/usr/bin/wg", "a b"))

    assert (case.scenario.name, case.script, case.command_line) == ("wg", None, "/usr/bin/wg 'a b'")


@pytest.mark.parametrize(
    ("program", "name"),
    [("./é", "command"), ("./tést", "t-st"), ("x" * 250, "x" * 80), ("/a/run.json", "run-json")],
)
def test_every_program_has_a_valid_name(program: str, name: str) -> None:
    """A command may have any file name, and the directory of its record may not."""
    assert create_case((program,)).scenario.name == name


def test_script_is_run_by_its_variable(tmp_path: Path) -> None:
    """A script is named after its file, and is run by the variable that holds its path."""
    case = create_case(script=tmp_path / "my bug.sh")

    assert case.scenario.name == "my-bug"
    assert case.script == tmp_path / "my bug.sh"
    assert case.argv == ("bash", str(tmp_path / "my bug.sh"))
    assert case.command_line == 'bash "$ISOSMOKE_SCRIPT"'


def test_case_without_script_is_only_a_sandbox() -> None:
    """Without a script and a command there is nothing to run."""
    case = create_case()

    assert (case.scenario.name, case.script, case.argv, case.command_line) == (
        "shell",
        None,
        (),
        "",
    )


def test_entry_is_restored_from_record() -> None:
    """A recorded entry is equal to the original, with the directory of its relative paths."""
    entry = {
        "name": "one",
        "script": "one.sh",
        "owners": ["a"],
        "leaks": {
            "policy": "fail",
            "allow": [{"command": "x", "reason": "y", "until": "2030-01-02"}],
        },
        "requires": {"commands": ["tmux"]},
        "env": {"A": "1"},
        "limits": {"memory": 1048576},
    }
    original = Scenario.validate(entry, strict=False).place(Path("/x"))
    restored = target.parse_entry(json.loads(json.dumps(original.to_json())), Path("/x"))

    assert restored == original
    assert restored.leaks.allow[0].until == date(2030, 1, 2)
    assert restored.script_path == Path("/x/one.sh")


def test_entry_of_another_version_is_reported() -> None:
    """A key that is unknown to this version is reported."""
    with pytest.raises(RecordError, match="shoe_size"):
        target.parse_entry({"name": "one", "script": "one.sh", "shoe_size": 43}, Path("/x"))


def test_other_image_changes_nothing_else() -> None:
    """Another image is another environment for the same scenario."""
    case = create_case(("true",))
    other = target.replace_image(case, "debian")

    assert other.scenario.image == "debian"
    assert replace(other, request=case.request) == case
    with pytest.raises(UsageError, match="--image"):
        target.replace_image(case, "")
