"""A scenario in a real image with its own system, named by `ISOSMOKE_IMAGE`."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

MANIFEST = """
[defaults]
image = "{image}"
settle_seconds = 0.5

[[scenario]]
name = "own_system"
script = "own_system.sh"

[[scenario]]
name = "leaks"
script = "leaks.sh"

[[scenario]]
name = "sees_the_host"
script = "sees_the_host.sh"
"""

SCRIPTS = {
    "own_system.sh": 'set -eu; touch /tmp/a "$HOME/b"; test "$(id -u)" = "$WANTED_UID"; whoami',
    "leaks.sh": "setsid sleep 60 >/dev/null 2>&1 </dev/null &",
    "sees_the_host.sh": 'test -e "$ONLY_ON_THE_HOST"',
}


@pytest.fixture
def outcomes(tmp_path: Path) -> Mapping[str, str]:
    """Return the outcome of each scenario in the image."""
    image = os.environ.get("ISOSMOKE_IMAGE")
    if not image:
        pytest.skip("set ISOSMOKE_IMAGE to a local image of Debian or a similar system")
    project = tmp_path / "project"
    project.mkdir()
    (project / "manifest.toml").write_text(
        MANIFEST.format(image=image)
        + f'env = {{ ONLY_ON_THE_HOST = "{sys.executable}" }}\n'
        + f'[defaults.env]\nWANTED_UID = "{os.getuid()}"\n'
    )
    for name, text in SCRIPTS.items():
        (project / name).write_text(f"{text}\n")
    result = subprocess.run(
        [sys.executable, "-m", "isosmoke", "run", "--json"],
        cwd=project,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "ISOSMOKE_STATE": str(tmp_path / "s")},
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        scenario["name"]: scenario["outcome"] for scenario in json.loads(result.stdout)["scenarios"]
    }


def test_image_has_own_system_and_callers_user(outcomes: Mapping[str, str]) -> None:
    """The caller's user works in the image, leaks are found, and the host's files are absent."""
    assert outcomes == {"own_system": "PASS", "leaks": "LEAK", "sees_the_host": "FAIL"}
