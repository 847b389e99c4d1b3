"""The examples in the documentation do what they say."""

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


def tried(folder: Path, example: str, *words: str, **more: str) -> Mapping[str, str]:
    """How each test of an example came out, by name."""
    (folder / "test_example.py").write_text(example)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *words],
        cwd=folder,
        env={**os.environ, **more},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"::(\w+)(?:\[(\w+)\])? (PASSED|FAILED|ERROR)", done.stdout)
    assert found, done.stdout + done.stderr
    return {check or test: outcome for test, check, outcome in found}


def test_the_container_of_the_page_finds_what_is_left(tmp_path: Path) -> None:
    """The first example passes, and after a leak its fixture ends in an error."""
    available.engine("docker")
    wg = docker_images.compiled(tmp_path / "wg")
    with docker_images.image(tmp_path) as image:
        example = CONTAINER.replace("debian:12", image)
        assert example != CONTAINER
        outcomes = tried(tmp_path, example, ISOSMOKE_WG=str(wg))

    assert outcomes == {"test_wg_prints_its_version": "PASSED", "test_leak_is_reported": "ERROR"}


def test_the_engine_of_the_page_is_held_to_the_contract(tmp_path: Path) -> None:
    """The second example runs the checks over its engine."""
    available.engine("bubblewrap")
    outcomes = tried(tmp_path, CONTRACT, "-k", "fresh or another_script or nothing_survives")

    assert outcomes == dict.fromkeys(
        (
            "each_sandbox_is_fresh",
            "a_fresh_sandbox_has_only_its_script",
            "another_script_may_follow",
            "nothing_survives_the_end",
        ),
        "PASSED",
    )


def test_the_fake_of_the_page_plays(tmp_path: Path) -> None:
    """The third example needs no process."""
    assert tried(tmp_path, FAKE) == {"test_exit_code_is_returned": "PASSED"}
