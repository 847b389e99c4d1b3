"""The action for GitHub, the template for GitLab, the hooks for pre-commit: each one is run."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import available
from support.paths import ROOT
from support.project import BAD, GOOD, Project

FAKE_PYTHON = f"""\
#!/bin/bash
# `python3 -m venv DIRECTORY`: an environment with this isosmoke, whose pip notes its arguments.
mkdir -p "$3/bin"
printf '%s\\n' '#!/bin/sh' 'echo "$@" >>"$RECORDED"' >"$3/bin/pip"
printf '%s\\n' '#!/bin/sh' 'exec {sys.executable} -m isosmoke "$@"' >"$3/bin/isosmoke"
chmod +x "$3"/bin/*
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project, on a machine with bubblewrap, next to a directory `fakes`."""
    available.require_engine("bubblewrap")
    project = Project.within(tmp_path, GOOD + BAD)
    (tmp_path / "fakes").mkdir()
    python = tmp_path / "fakes/python3"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    return project


def load(path: str) -> Any:
    """Return a YAML document of the repository."""
    return yaml.safe_load((ROOT / path).read_text())


def run_bash(project: Project, text: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a step as the runners do: in bash, which ends at the first command that fails."""
    fakes = project.top.parent / "fakes"
    environment = {
        **project.environment(),
        "PATH": f"{fakes}:{available.PATH}",
        "RECORDED": str(project.top.parent / "pip.txt"),
        **variables,
    }
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", text],
        cwd=project.top,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def run_action(project: Project, arguments: str) -> tuple[list[int], Mapping[str, str]]:
    """Run the steps of the action; return their exit codes, and the outputs of the action."""
    action = load("action.yml")
    values = {
        **{f"inputs.{name}": entry["default"] for name, entry in action["inputs"].items()},
        "inputs.arguments": arguments,
        "github.action_path": "/the/action",
    }
    directory = project.top.parent
    runner = {
        "RUNNER_TEMP": str(directory / "temp"),
        "GITHUB_OUTPUT": str(directory / "output"),
        "GITHUB_STEP_SUMMARY": str(directory / "summary.md"),
        "GITHUB_WORKSPACE": str(project.top),
        "GITHUB_ACTIONS": "true",
        "CI": "true",
    }

    def expand(text: str) -> str:
        return re.sub(r"\$\{\{ (\S+) \}\}", lambda match: values[match[1]], text)

    (directory / "log").write_text("")
    codes = []
    for step in action["runs"]["steps"]:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"]  # a value in a script is a program
        variables = {name: expand(value) for name, value in step.get("env", {}).items()}
        done = run_bash(project, step["run"], **runner, **variables)
        with (directory / "log").open("a") as log:
            log.write(done.stdout + done.stderr)
        codes.append(done.returncode)
    lines = (directory / "output").read_text().splitlines()
    outputs = dict(line.split("=", 1) for line in lines)
    named = {
        name: re.sub(r"\$\{\{ steps\.run\.outputs\.(\S+) \}\}", r"\1", entry["value"])
        for name, entry in action["outputs"].items()
    }
    return codes, {name: outputs[key] for name, key in named.items()}


def test_action_reports_a_failure_in_every_way(project: Project) -> None:
    """The step fails as the run does, with annotations, a summary, and both reports."""
    codes, outputs = run_action(project, "")

    assert codes == [0, 0, 1]
    assert outputs["exit-code"] == "1"
    directory = project.top.parent
    assert "::error file=scenarios/bad.sh" in (directory / "log").read_text()
    assert "bad" in (directory / "summary.md").read_text()
    assert "<testsuites" in Path(outputs["junit"]).read_text()
    assert Path(outputs["html"]).read_text().startswith("<!doctype html>")
    assert "/the/action" in (directory / "pip.txt").read_text()


def test_action_quotes_arguments_as_a_shell(project: Project) -> None:
    """An argument with blanks is one argument, and nothing in it is run."""
    codes, outputs = run_action(project, "-E 'owner(task-a) and not owner(task-b)'")
    assert (codes[-1], outputs["exit-code"]) == (0, "0")

    codes, _ = run_action(project, """-- bash -c 'test "$1" = "$(id)"' bash '$(id)'""")
    assert codes[-1] == 1
    codes, _ = run_action(project, """-- test '$(id)' = '$(id)'""")
    assert codes[-1] == 0


def test_action_refuses_arguments_with_an_open_quote(project: Project) -> None:
    """Nothing runs, rather than the scenarios that the arguments before the quote select."""
    (project.top.parent / "output").write_text("exit-code=\njunit=\nhtml=\n")

    codes, _ = run_action(project, "good ba'd")

    assert codes[-1] == 1
    log = (project.top.parent / "log").read_text()
    assert "unmatched single quote" in log
    assert "1 PASS" not in log


def test_gitlab_job_writes_its_artifacts(project: Project) -> None:
    """A job of the template exits as the run does, and leaves the files that it declares."""
    job = load("docs/ci/isosmoke.gitlab-ci.yml")[".isosmoke"]
    text = "\n".join([*job["before_script"], *job["script"]])
    variables = {**job["variables"], "CI_PROJECT_DIR": str(project.top), "CI": "true"}
    artifacts = [*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]]

    for arguments, code in (("", 1), ("-E 'owner(task-a)'", 0)):
        done = run_bash(project, text, **{**variables, "ISOSMOKE_ARGUMENTS": arguments})
        assert done.returncode == code, done.stderr
        assert [project.path(name).stat().st_size > 0 for name in artifacts] == [True, True]


def configure_hooks(project: Project) -> None:
    """Make the project a repository that uses both hooks, with this isosmoke."""
    hooks = load(".pre-commit-hooks.yaml")
    (project.top.parent / "fakes/isosmoke").write_text(
        f'#!/bin/sh\nexec {sys.executable} -m isosmoke "$@"\n'
    )
    (project.top.parent / "fakes/isosmoke").chmod(0o755)
    for hook in hooks:
        hook["language"] = "system"  # its own environment would be installed from the network
    config = {"repos": [{"repo": "local", "hooks": hooks}]}
    project.path(".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    for command in (
        "git init --quiet --initial-branch main",
        "git config user.name me",
        "git config user.email me@example.invalid",
        "git add --all",
        "git commit --quiet --message Start",
        "git checkout --quiet -b work",
        "git commit --quiet --allow-empty --message Work",
    ):
        subprocess.run(shlex.split(command), cwd=project.top, check=True)


def test_hooks_check_and_run(project: Project) -> None:
    """pre-commit checks the manifest before a commit, and runs the scenarios before a push."""
    program = shutil.which("pre-commit", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert program is not None
    configure_hooks(project)

    def run_hooks(stage: str) -> "subprocess.CompletedProcess[str]":
        return run_bash(project, f"{program} run --all-files --hook-stage {stage}")

    checked, ran = run_hooks("pre-commit"), run_hooks("pre-push")
    assert checked.returncode == 0, checked.stdout
    assert "isosmoke run" not in checked.stdout
    assert ran.returncode == 1
    assert "FAIL" in ran.stdout
    project.manifest.write_text(GOOD)
    weakened = run_hooks("pre-commit")
    assert weakened.returncode == 1
    assert "bad" in weakened.stdout
    assert "isosmoke run" in run_hooks("pre-push").stdout


@pytest.mark.parametrize("path", ["action.yml", "docs/ci/isosmoke.gitlab-ci.yml"])
def test_ci_page_names_the_file(path: str) -> None:
    """The page on CI shows how to use the file."""
    assert Path(path).name.removesuffix(".yml") in (ROOT / "docs/ci.md").read_text()
