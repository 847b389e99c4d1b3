"""The warnings about tools that no sandbox can show, and the explanations of missing programs."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from isosmoke.execution.surroundings_warnings import collect_warnings, explain_missing_program
from isosmoke.host.caller_process import Caller
from isosmoke.host.workspace_directories import Workspace
from isosmoke.manifest.models import Scenario
from isosmoke.runner.job_builder import RunContext
from isosmoke.sandbox.spec import ReadOnly


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
    scenario = Scenario.validate({"name": "one", "script": "one.sh", "image": image})

    warnings = collect_warnings(context, [scenario], None)

    assert len([text for text in warnings if f"CARGO_HOME={tmp_path}" in text]) == count


@pytest.mark.parametrize("is_command", [False, True])
def test_path_of_a_command_is_the_users_own(tmp_path: Path, *, is_command: bool) -> None:
    """A verdict about a scenario may depend on PATH; a typed command is meant to use it."""
    shadow = tmp_path / "work/bin"
    shadow.mkdir(parents=True)
    (shadow / "grep").touch(0o755)
    context = create_context(tmp_path, PATH=f"{shadow}:/usr/bin:/bin")
    workspace = Workspace((tmp_path / "work",), (), tmp_path / "work")

    warnings = collect_warnings(
        replace(context, workspace=workspace), [create_scenario()], None, is_command=is_command
    )

    assert any(str(shadow) in text for text in warnings) is not is_command


def create_context(home: Path, **variables: str) -> RunContext:
    """Return the context of a caller with this HOME and these variables, and without a binary."""
    caller = Caller(uid=1, gid=1, user="alice", home=home, working=home, environment=variables)
    return RunContext(caller=caller, workspace=Workspace((), (), home), binary=None)


def create_scenario(image: str = "host", **keys: object) -> Scenario:
    """Return a scenario for an image."""
    return Scenario.validate({"name": "one", "script": "one.sh", "image": image, **keys})


def create_tool(directory: Path) -> Path:
    """Create a program in a directory, and return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "tool").touch(0o755)
    return directory / "tool"


@pytest.mark.parametrize("image", ["host", "debian"])
def test_missing_wg_is_explained_with_the_option(tmp_path: Path, image: str) -> None:
    """Without a live binary, the explanation says how to name one."""
    explanation = explain_missing_program("wg", create_scenario(image), create_context(tmp_path))

    assert "--binary" in explanation
    assert "ISOSMOKE_WG" in explanation


def test_program_next_to_home_is_explained(tmp_path: Path) -> None:
    """A directory on PATH that contains HOME cannot be mounted, which is said with its path."""
    tool = create_tool(tmp_path)
    context = create_context(tmp_path / "alice", PATH=str(tmp_path))

    explanations = {
        explain_missing_program(name, create_scenario(), context) for name in ("tool", str(tool))
    }

    assert explanations == {
        f"{tool} exists, but a sandbox does not have its directory because HOME is in it"
    }


def test_program_behind_a_link_out_of_the_sandbox_is_explained(tmp_path: Path) -> None:
    """The path that is missing is the target of the link."""
    tool = create_tool(tmp_path / "alice")
    link = tmp_path / "bin/tool"
    link.parent.mkdir()
    link.symlink_to(tool)
    mounts = (ReadOnly(link.parent, PurePosixPath(link.parent)),)
    context = create_context(tmp_path / "alice", PATH=str(link.parent))
    context.__dict__["host"] = mounts

    assert f"{tool} exists" in explain_missing_program("tool", create_scenario(), context)


def test_program_of_a_hidden_toolchain_is_explained(tmp_path: Path) -> None:
    """If PATH has no such program, the variables whose directories are hidden are named."""
    context = create_context(tmp_path, CARGO_HOME=str(tmp_path), PATH="/nowhere")

    assert f"CARGO_HOME={tmp_path}" in explain_missing_program("x", create_scenario(), context)


@pytest.mark.parametrize("program", ["ls", "nosuch", "scripts/x"])
def test_program_that_is_not_hidden_has_no_explanation(tmp_path: Path, program: str) -> None:
    """A program that the sandbox has, or that this machine does not have, needs no explanation."""
    context = create_context(tmp_path, PATH="/usr/bin")

    assert explain_missing_program(program, create_scenario(), context) == ""


def test_program_of_another_image_is_not_searched_here(tmp_path: Path) -> None:
    """The programs of this machine say nothing about another image."""
    create_tool(tmp_path)
    context = create_context(tmp_path / "alice", PATH=str(tmp_path))

    assert explain_missing_program("tool", create_scenario("debian"), context) == ""
