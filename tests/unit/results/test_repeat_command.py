"""The command line that repeats a scenario."""

from pathlib import Path
from typing import Any

import pytest

from isosmoke.results import repeat_command, run_record
from isosmoke.results.outcome import Exited
from isosmoke.results.run_results import Attempt
from support import result_factories

BAD = result_factories.result(Attempt(ending=Exited(1)), name="bad")


def repeat(**others: Any) -> str:
    """What repeats the scenario `bad` of a run with these facts."""
    return " ".join(repeat_command.of(run_record.of(result_factories.run(BAD, **others)), "bad"))


def test_repeats_with_the_manifest_binary_and_engine_of_the_run() -> None:
    """Nothing is left to what PATH, the environment or the folder would choose today."""
    assert repeat() == (
        "isosmoke run --manifest /p/manifest.toml --binary /p/wg --engine bubblewrap bad"
    )


def test_manifest_is_named_from_the_root() -> None:
    """A manifest that was given relative to the folder of the run is found from anywhere."""
    assert "--manifest /p/sub/m.toml " in repeat(manifest=Path("sub/m.toml"))


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
            "isosmoke run --engine bubblewrap -- cargo test",
        ),
        (
            {"engine": "docker", "binary": None, "daemon": ("--context", "orb")},
            "isosmoke --context orb run --manifest /p/manifest.toml --engine docker bad",
        ),
    ],
    ids=["no binary", "several engines", "a command", "a daemon"],
)
def test_only_what_the_run_had_is_named(others: dict[str, Any], line: str) -> None:
    """No option without a value; a command stands after its dashes, in place of the name."""
    assert repeat(**others) == line
