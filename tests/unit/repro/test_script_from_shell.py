"""The commands of a shell's history, and a script made of them."""

import pytest

from isosmoke.manifest.models import Scenario
from isosmoke.repro import script_from_shell

SCENARIO = Scenario(name="one", script="one.sh", assertion="It holds.")


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
def test_history_is_split_into_commands(history: str, commands: tuple[str, ...]) -> None:
    """Each command is complete, with all of its lines, and without a final bare exit."""
    assert script_from_shell.parse_history(history) == commands


def test_piped_lines_are_one_command() -> None:
    """Piped input is a single script; blank input is none."""
    assert script_from_shell.parse_piped("a\nif b\nthen c; fi\n") == ("a\nif b\nthen c; fi",)
    assert script_from_shell.parse_piped(" \n") == ()


def test_script_has_assertion_and_commands() -> None:
    """The script starts like that of any scenario, and ends with the commands in order."""
    head, _, body = script_from_shell.render_script(SCENARIO, ("a\nb", "c")).partition("\n\n")

    assert head.startswith("#!/usr/bin/env bash\n# Protects: It holds.\n")
    assert body == "a\nb\nc\n"
