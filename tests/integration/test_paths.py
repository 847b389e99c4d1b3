"""Projects at unusual paths: reached through links, and with names that are not UTF-8."""

import subprocess
from pathlib import Path

import pytest

from support import available
from support.available import ENGINE_NAMES
from support.project import Project

SEES_LINKED_PATHS = """
[[scenario]]
name = "sees"
script = "scenarios/sees.sh"
pass_files = ["PASSED"]
"""

_ENGINES = [name for name in ENGINE_NAMES if name != "podman"]


@pytest.mark.parametrize("engine", _ENGINES)
def test_every_name_of_the_workspace_exists_inside(tmp_path: Path, engine: str) -> None:
    """A link above the project, in PWD, an argument, the manifest and HOME, leads to the copy."""
    available.require_engine(engine)
    (tmp_path / "var/user").mkdir(parents=True)
    (tmp_path / "homes").symlink_to("var")
    project = Project.within(tmp_path / "var/user")
    named = tmp_path / "homes/user"
    (tmp_path / "other").symlink_to(project.top)
    project.path("passed").write_text("passed\n")
    project.path("plain").write_text("plain\n")
    project.manifest.write_text(SEES_LINKED_PATHS.replace("PASSED", str(named / "project/passed")))
    project.path("scenarios/sees.sh").write_text(
        f"cd {named}/project && test -s passed && cat {named}/project/plain\n"
        "cd ~/project && pwd -P\n"
        f"echo new >{named}/project/file && cat {project.top}/file\n"
    )
    project.binary.rename(tmp_path / "wg")
    environment = {
        **project.environment(),
        "HOME": str(named),
        "PWD": str(named / "project"),
        "ISOSMOKE_WG": str(tmp_path / "wg"),
        "ISOSMOKE_STATE": str(tmp_path / "state"),
        "PATH": f"{named}/project/bin:{available.PATH}",
    }

    def run(*arguments: str) -> str:
        done = subprocess.run(
            project.command("run", "--engine", engine, *arguments),
            cwd=named / "project",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (log,) = project.top.glob(".isosmoke/runs/*/*/output-1.log")
        output = log.read_text()
        log.unlink()
        return output

    project.path("bin").mkdir()
    expected = f"plain\n{project.top}\nnew\n"
    assert run() == expected
    assert run("--manifest", str(named / "project/manifest.toml")) == expected
    assert run("--", "cat", str(tmp_path / "other/plain")) == "plain\n"
    assert not project.path("file").exists()
