"""Digests of inputs: each input changes them, and an unknown input makes them empty."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from isosmoke.execution.concurrency.known_failures import InputDigests
from isosmoke.host.binary import Binary
from isosmoke.host.caller_process import Caller
from isosmoke.host.workspace_directories import Workspace
from isosmoke.manifest.models import Scenario
from isosmoke.runner.job_builder import RunContext
from isosmoke.testing import FakeEngine
from support.git_repositories import Git


@dataclass(slots=True)
class Inputs:
    """A repository with a script, and the other inputs of a run."""

    git: Git
    environment: dict[str, str]
    sha256: str = "01"
    engine: FakeEngine | None = None

    def create_digests(self, command: tuple[str, ...] = ()) -> InputDigests:
        """Return the digests of a new run."""
        caller = replace(Caller.current(), working=self.git.top, environment=self.environment)
        tested = Binary(Path("/wg"), self.sha256, Path("/"))
        workspace = Workspace((self.git.top,), (), self.git.top)
        engine = self.engine or FakeEngine()
        return InputDigests(
            context=RunContext(caller, workspace, tested, command), engine_for=lambda _: engine
        )

    def compute(self, **keys: Any) -> str:
        """Return the digest of a scenario with these keys in a new run."""
        return self.create_digests().compute(self.create_scenario(**keys))

    def create_scenario(self, **keys: Any) -> Scenario:
        """Return a scenario with these keys."""
        entry = {"name": "one", "script": "one.sh", **keys}
        return Scenario.validate(entry).place(self.git.top)


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    """Return the inputs of a committed project."""
    git = Git(tmp_path / "project")
    git.commit("base", one_sh="exit 1")
    return Inputs(git, {"PATH": os.environ["PATH"]})


def test_same_inputs_have_the_same_digest(inputs: Inputs) -> None:
    """A later run recognizes what an earlier one knew."""
    assert inputs.compute() == inputs.compute() != ""


@pytest.mark.parametrize(
    "change",
    [
        lambda inputs: inputs.git.write(one_sh="exit 2"),
        lambda inputs: inputs.git.write(other_txt="new"),
        lambda inputs: inputs.git.commit("next"),
        lambda inputs: setattr(inputs, "sha256", "02"),
        lambda inputs: inputs.environment.update(PATH="/bin"),
    ],
    ids=["script", "untracked file", "commit", "binary", "PATH"],
)
def test_every_input_is_in_the_digest(inputs: Inputs, change: Callable[[Inputs], object]) -> None:
    """A failure with other inputs is another failure."""
    before = inputs.compute()
    change(inputs)

    assert inputs.compute() not in ("", before)


def test_entry_variables_and_image_are_in_the_digest(inputs: Inputs) -> None:
    """The same script with other keys or values is another scenario."""
    inputs.engine = FakeEngine(images={"clean": "sha-1"})
    digests = [
        inputs.compute(),
        inputs.compute(timeout_seconds=9),
        inputs.compute(env={"A": "1"}),
        inputs.compute(plain_env=["A"]),
        inputs.compute(image="clean"),
    ]
    inputs.environment["A"] = "1"
    inputs.engine.images["clean"] = "sha-2"
    digests += [inputs.compute(plain_env=["A"]), inputs.compute(image="clean")]

    assert len(set(digests)) == len(digests)
    assert all(digests)


@pytest.mark.parametrize(
    "keys",
    [
        {"requires": {"endpoints": ["http://localhost"]}},
        {"services": [{"name": "db", "image": "db"}]},
        {"pass_env": ["TOKEN"]},
        {"pass_files": ["/key"]},
        {"plain_files": ["/file"]},
        {"cache": ["cargo"]},
        {"image": "unknown"},
        {"script": "missing.sh"},
    ],
)
def test_inputs_that_cannot_be_described_have_no_digest(
    inputs: Inputs, keys: dict[str, Any]
) -> None:
    """An input outside the work tree, or one that cannot be read, may change unnoticed."""
    assert inputs.compute(**keys) == ""


def test_command_and_directory_without_repository_have_no_digest(inputs: Inputs) -> None:
    """Without git, nothing says whether the files are the same."""
    scenario = inputs.create_scenario()
    assert inputs.create_digests(("make",)).compute(scenario) == ""
    (inputs.git.top / ".git").rename(inputs.git.top / "git")
    assert inputs.compute() == ""


def test_change_during_the_run_is_noticed(inputs: Inputs) -> None:
    """A digest holds only if the work tree is as it was when the digest was computed."""
    digests = inputs.create_digests()
    assert digests.are_current()
    digests.compute(inputs.create_scenario())
    assert digests.are_current()
    inputs.git.write(one_sh="exit 2")
    assert not digests.are_current()
