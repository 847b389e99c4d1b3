"""The command line that repeats a scenario."""

from pathlib import Path
from typing import Any

import pytest

from isosmoke.results import repeat_command
from isosmoke.results.outcome import Exited
from isosmoke.results.records import creation
from isosmoke.results.run_results import Attempt
from support import result_factories

BAD = result_factories.make_result(Attempt(ending=Exited(1)), name="bad")


def format_repeat(**others: Any) -> str:
    """Return the command line that repeats the scenario `bad` of a run."""
    return " ".join(
        repeat_command.build_repeat_command(
            creation.record_run(result_factories.make_run(BAD, **others)), "bad"
        )
    )


def test_command_names_manifest_binary_and_engine() -> None:
    """The command line does not depend on PATH, the environment or the working directory."""
    assert format_repeat() == (
        "isosmoke run --manifest /p/manifest.toml --binary /p/wg --engine bubblewrap bad"
    )


def test_manifest_path_is_absolute() -> None:
    """A relative manifest path becomes absolute."""
    assert "--manifest /p/sub/m.toml " in format_repeat(manifest=Path("sub/m.toml"))


@pytest.mark.parametrize(
    ("others", "line"),
    [
        ({"binary": None}, "isosmoke run --manifest /p/manifest.toml --engine bubblewrap bad"),
        (
            {"engine": "bubblewrap+docker", "binary": None},
            "isosmoke run --manifest /p/manifest.toml bad",
        ),
        (
            {"manifest": None, "binary": None, "command": ("cargo", "test")},
            "isosmoke run --engine bubblewrap --timeout 180 --no-cache -- cargo test",
        ),
        (
            {"engine": "docker", "binary": None, "daemon": ("--context", "orb")},
            "isosmoke --context orb run --manifest /p/manifest.toml --engine docker bad",
        ),
    ],
    ids=["no binary", "several engines", "a command", "a daemon"],
)
def test_empty_options_are_omitted(others: dict[str, Any], line: str) -> None:
    """Options without a value are omitted; a command replaces the name."""
    assert format_repeat(**others) == line


def test_options_of_a_command_are_those_that_differ_from_the_default() -> None:
    """A value that a command has anyway is omitted."""
    entry = {
        "timeout_seconds": repeat_command.COMMAND_TIMEOUT_SECONDS,
        "image": "host",
        "network": "isolated",
        "cache": ["cargo"],
        "limits": {"memory": None, "processes": 9},
        "env": {"A": "1"},
        "pass_env": ["TOKEN"],
        "pass_files": ["/key"],
    }

    assert " ".join(repeat_command.list_command_options(entry)) == (
        "--network isolated --processes 9 --env A=1 --pass-env TOKEN --pass-file /key"
    )
