"""Fixtures for every test: a private state directory, and code subject to permissions."""

import gc
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from support.fixture_types import Ordinary

settings.register_profile("untimed", deadline=None)  # a busy machine must not fail a test
settings.register_profile("nightly", settings.get_profile("untimed"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "untimed"))

_WITHOUT_CAPABILITIES = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")


def pytest_configure() -> None:
    """Handle SIGINT, which tests that run in the background of a shell inherit as ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Let the garbage collector skip what was imported and collected, which stays to the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _temporary_root_of_inner_pytest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give each pytest that a test runs its own root of temporary directories.

    At its end pytest removes the directories of earlier runs in its root, which takes minutes
    if these were the runs of this suite.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DEBUG_TEMPROOT", str(tmp_path_factory.mktemp("inner")))
        yield


@pytest.fixture(autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create the state directory of the test, and return it."""
    directory = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("ISOSMOKE_STATE", str(directory))
    return directory


@pytest.fixture
def ordinary() -> Ordinary:
    """Return a function that runs code subject to permissions, from which root is exempt."""
    if os.getuid() == 0 and shutil.which(_WITHOUT_CAPABILITIES[0]) is None:
        pytest.skip("permissions do not apply to root, and there is no setpriv")

    def run(code: str, *arguments: object) -> str:
        command = [sys.executable, "-c", code, *map(str, arguments)]
        if os.getuid() == 0:
            command = [*_WITHOUT_CAPABILITIES, *command]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    return run
