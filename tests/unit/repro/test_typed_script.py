"""What was typed, out of a shell's history and as a script."""

import pytest

from isosmoke.manifest.models import Scenario
from isosmoke.repro import typed_script

ONE = Scenario(name="one", script="one.sh", assertion="It holds.")


@pytest.mark.parametrize(
    ("history", "commands"),
    [
        ("", ()),
        ("#17\nwg add x\n#18\nwg list\n#19\nexit\n", ("wg add x", "wg list")),
        (
            "#17\nfor a in 1 2\ndo echo $a\ndone\n#18\nls\n",
            ("for a in 1 2\ndo echo $a\ndone", "ls"),
        ),
        ("#17\nexit\n#18\nfalse\n", ("exit", "false")),
        ("#17\nexit 3\n", ("exit 3",)),
        ("#17\n# a remark\n#18\nlogout \n", ("# a remark",)),
    ],
)
def test_history_is_its_commands(history: str, commands: tuple[str, ...]) -> None:
    """Each command is whole, however many lines it has, without the exit that only leaves."""
    assert typed_script.commands(history) == commands


def test_lines_are_kept_as_they_came() -> None:
    """What a pipe brought is one script already; nothing is nothing."""
    assert typed_script.lines("a\nif b\nthen c; fi\n") == ("a\nif b\nthen c; fi",)
    assert typed_script.lines(" \n") == ()


def test_script_says_what_it_protects_and_does_what_was_typed() -> None:
    """The script starts like every scenario's, and ends with the commands in order."""
    head, _, body = typed_script.script(ONE, ("a\nb", "c")).partition("\n\n")

    assert head.startswith("#!/usr/bin/env bash\n# Protects: It holds.\n")
    assert body == "a\nb\nc\n"
