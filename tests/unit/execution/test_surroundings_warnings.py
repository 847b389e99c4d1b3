"""The warnings about tools that no sandbox can show."""

from pathlib import Path

import pytest

from isosmoke.execution.surroundings_warnings import collect_warnings
from isosmoke.host.caller_process import Caller
from isosmoke.host.workspace_directories import Workspace
from isosmoke.manifest.models import Scenario
from isosmoke.runner.job_builder import RunContext


@pytest.mark.parametrize(("image", "count"), [("host", 1), ("debian", 0)])
def test_directory_that_cannot_be_mounted_is_named(tmp_path: Path, image: str, count: int) -> None:
    """A variable that names HOME as the directory of a tool is named if the host's tools run."""
    caller = Caller(
        uid=1,
        gid=1,
        user="alice",
        home=tmp_path,
        working=tmp_path,
        environment={"CARGO_HOME": str(tmp_path)},
    )
    context = RunContext(caller=caller, workspace=Workspace((), (), tmp_path), binary=None)
    scenario = Scenario.model_validate({"name": "one", "script": "one.sh", "image": image})

    warnings = collect_warnings(context, [scenario], None)

    assert len([text for text in warnings if f"CARGO_HOME={tmp_path}" in text]) == count
