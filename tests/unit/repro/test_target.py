"""What is to be reproduced: from the command line, or from the record of a past run."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from isosmoke.errors import RecordError, UsageError
from isosmoke.execution.session import Request
from isosmoke.host.caller_process import Caller
from isosmoke.manifest.models import Scenario
from isosmoke.repro import target
from isosmoke.repro.target import Case


def made(argv: tuple[str, ...] = (), script: Path | None = None) -> Case:
    """A case of no manifest."""
    request = Request(scenarios=(target.loose(argv, script, 60),), argv=argv)
    return Case(request=request, caller=Caller.here())


def test_command_is_typed_as_a_shell_takes_it() -> None:
    """A command is named after its program, and typed with its quotes."""
    one = made(("/usr/bin/wg", "a b"))

    assert (one.scenario.name, one.script, one.typed) == ("wg", None, "/usr/bin/wg 'a b'")


def test_script_is_typed_by_its_variable(tmp_path: Path) -> None:
    """A script is named after its file, and typed by the variable that names it."""
    one = made(script=tmp_path / "my bug.sh")

    assert one.scenario.name == "my-bug"
    assert one.script == tmp_path / "my bug.sh"
    assert one.argv == ("bash", str(tmp_path / "my bug.sh"))
    assert one.typed == 'bash "$ISOSMOKE_SCRIPT"'


def test_nothing_is_a_sandbox_alone() -> None:
    """Where nothing is named there is nothing to run."""
    one = made()

    assert (one.scenario.name, one.script, one.argv, one.typed) == ("shell", None, (), "")


def test_entry_comes_back_from_a_record() -> None:
    """What a record keeps of an entry is the entry, with the folder that its paths start from."""
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
    was = Scenario.model_validate(entry, context=Path("/x"), strict=False)
    again = target.parsed(json.loads(json.dumps(was.model_dump(mode="json"))), Path("/x"))

    assert again == was
    assert again.leaks.allow[0].until == date(2030, 1, 2)
    assert again.script_path == Path("/x/one.sh")


def test_entry_of_another_isosmoke_is_told() -> None:
    """A key that this version does not know is named."""
    with pytest.raises(RecordError, match="shoe_size"):
        target.parsed({"name": "one", "script": "one.sh", "shoe_size": 43}, Path("/x"))


def test_image_is_the_only_thing_that_changes() -> None:
    """Another image is another environment for the same scenario."""
    one = made(("true",))
    other = target.with_image(one, "debian")

    assert other.scenario.image == "debian"
    assert replace(other, request=one.request) == one
    with pytest.raises(UsageError, match="--image"):
        target.with_image(one, "")
