"""The examples in the documentation work as described."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from support import available, docker_images
from support.paths import ROOT

PAGE = ROOT / "docs/testing.md"
CONTAINER, CONTRACT, FAKE = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def run_example(
    directory: Path, example: str, *arguments: str, **variables: str
) -> Mapping[str, str]:
    """Return the result of each test of an example, by name."""
    (directory / "test_example.py").write_text(example)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *arguments],
        cwd=directory,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    matches = re.findall(r"::(\w+)(?:\[(\w+)\])? (PASSED|FAILED|ERROR)", result.stdout)
    assert matches, result.stdout + result.stderr
    return {check or test: outcome for test, check, outcome in matches}


def test_container_example_finds_leak(tmp_path: Path) -> None:
    """The first example passes, and its fixture raises an error after a leak."""
    available.require_engine("docker")
    wg = docker_images.compile_companion(tmp_path / "wg")
    with docker_images.imported_image(tmp_path) as image:
        example = CONTAINER.replace("debian:12", image)
        assert example != CONTAINER
        outcomes = run_example(tmp_path, example, ISOSMOKE_WG=str(wg))

    assert outcomes == {"test_wg_prints_its_version": "PASSED", "test_leak_is_reported": "ERROR"}


def test_engine_example_runs_contract(tmp_path: Path) -> None:
    """The second example runs the checks over its engine."""
    available.require_engine("bubblewrap")
    outcomes = run_example(tmp_path, CONTRACT, "-k", "fresh or another_script or nothing_survives")

    assert outcomes == dict.fromkeys(
        (
            "each_sandbox_is_fresh",
            "a_fresh_sandbox_has_only_its_script",
            "another_script_may_follow",
            "nothing_survives_the_end",
        ),
        "PASSED",
    )


def test_fake_example_passes(tmp_path: Path) -> None:
    """The third example needs no process."""
    assert run_example(tmp_path, FAKE) == {"test_exit_code_is_returned": "PASSED"}
