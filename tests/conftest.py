"""What every test gets: a state folder of its own, and a way to run as an ordinary user would."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from support.fixture_types import Ordinary

settings.register_profile("untimed", deadline=None)  # a busy machine breaks nothing
settings.register_profile("nightly", settings.get_profile("untimed"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "untimed"))

_WITHOUT_CAPABILITIES = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")


@pytest.fixture(autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only state folder that isosmoke knows of during the test."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("ISOSMOKE_STATE", str(folder))
    return folder


@pytest.fixture
def ordinary() -> Ordinary:
    """Runs code in a process to which permissions apply, as they do not to root."""
    if os.getuid() == 0 and shutil.which(_WITHOUT_CAPABILITIES[0]) is None:
        pytest.skip("permissions do not apply to root, and there is no setpriv")

    def run(code: str, *arguments: object) -> str:
        command = [sys.executable, "-c", code, *map(str, arguments)]
        if os.getuid() == 0:
            command = [*_WITHOUT_CAPABILITIES, *command]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run
