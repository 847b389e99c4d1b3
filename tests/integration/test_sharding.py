"""Runs that are divided into shards and merged, from the command line."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from support import available, key_pairs
from support.git_repositories import Git
from support.paths import ROOT
from support.project import BAD, GOOD, SKIPS, Project

LEAKS = '[[scenario]]\nname = "leaks"\nscript = "scenarios/leaks.sh"\nsettle_seconds = 0.1\n'
MANIFEST = GOOD + BAD + SKIPS + LEAKS
REPORTS = ("junit", "json", "jsonl", "trace", "html")
GITHUB, SIGNED_GITHUB, GITLAB, SIGNED_GITLAB = re.findall(
    r"```yaml\n(.*?)```", (ROOT / "docs/sharding.md").read_text(), re.DOTALL
)
"""The recipes of the page on shards."""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a repository in which scenarios pass, fail, skip and leak."""
    available.require_engine("bubblewrap")
    project = Project.within(tmp_path, MANIFEST)
    project.path("scenarios/leaks.sh").write_text("sleep 60 &\n")
    project.path(".gitignore").write_text("shard*\nmerged\n*.xml\n*.json\n")
    Git(project.top).commit("first")
    return project


def run_shard(project: Project, number: int, total: int, *arguments: str, **variables: str) -> Path:
    """Run a shard, and return the directory of its record."""
    directory = project.path(f"shard-{number}")
    done = project.run(
        "run", "--shard", f"{number}/{total}", "--output", directory.name, *arguments, **variables
    )
    assert directory.is_dir(), done.stderr
    return directory


def merge(project: Project, *arguments: str | Path) -> Mapping[str, Any]:
    """Merge shards; return the JSON document and the exit code."""
    done = project.run("merge", "--json", *map(str, arguments))
    assert done.stdout, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return {**document, "code": done.returncode}


def get_outcomes(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the outcome and reason of each scenario."""
    return {
        scenario["name"]: f"{scenario['outcome']} {scenario['reason']}".strip()
        for scenario in document["scenarios"]
    }


def test_merged_shards_are_the_whole_run(project: Project) -> None:
    """Shards and merge have the outcomes, the order and the exit code of one run."""
    whole = project.run("run", "--json")
    shards = [run_shard(project, number, 3) for number in (3, 1, 2)]
    merged = merge(project, *shards)

    assert get_outcomes(merged) == get_outcomes(json.loads(whole.stdout))
    assert merged["code"] == whole.returncode == 1
    assert [*get_outcomes(merged)] == ["good", "bad", "skips", "leaks"]
    assert [shard["problem"] for shard in merged["shards"]] == ["", "", ""]


def test_every_report_shows_the_merged_run(project: Project) -> None:
    """`merge --report` and `isosmoke report` write the same documents, and logs can be read."""
    run_shard(project, 1, 2)
    run_shard(project, 2, 2)
    options = [f"--report={kind}={kind}.txt" for kind in REPORTS]
    merged = project.run("merge", "shard-1", "shard-2", *options, "--report", "github")

    assert merged.returncode == 1, merged.stderr
    assert "::error" in merged.stdout
    for kind in REPORTS:
        again = project.run("report", "--as", kind)
        assert again.stdout == project.path(f"{kind}.txt").read_text()
        assert "bad" in again.stdout
    assert project.run("logs", "bad").stdout == "broken\n"
    assert "exit 3: broken" in project.run("show", "bad").stdout


def test_merged_record_can_be_taken_along(project: Project) -> None:
    """`merge --output` writes the merged record, which is not a shard, to a directory."""
    run_shard(project, 1, 1)
    project.run("merge", "shard-1", "--output", "merged")

    assert json.loads(project.path("merged/run.json").read_text())["counts"]["PASS"] == 1
    assert project.path("merged/bad/output-1.log").read_text() == "broken\n"
    again = project.run("merge", "merged")
    assert again.returncode == 125
    assert "not the record of a shard" in again.stderr


def list_files(directory: Path) -> set[Path]:
    """Return everything in a directory."""
    return set(directory.rglob("*"))


@pytest.mark.parametrize(
    "options",
    [
        ("--output", "shard-1/out"),
        ("--output", "shard-1/good/out"),
        ("--output", "link/out"),
        ("--output", "new/../shard-1/deep/out"),
        ("--report", "junit=shard-1/junit.xml"),
        ("--report", "html=link/page.html"),
    ],
    ids=str,
)
def test_merge_writes_nothing_into_a_shard(options: tuple[str, str], project: Project) -> None:
    """A target in the record of a shard is refused before anything is written."""
    shard = run_shard(project, 1, 1)
    project.path("link").symlink_to(shard)
    before = list_files(project.top)

    done = project.run("merge", "shard-1", *options)

    assert done.returncode == 2
    assert "is in the record shard-1, which is merged" in done.stderr
    assert list_files(project.top) == before


def test_project_in_a_shard_is_not_written_to(project: Project) -> None:
    """A project that is in a record, by its working directory, gets no record of the merge."""
    shard = run_shard(project, 1, 1)
    apart = project.top.parent / "apart"
    shutil.copytree(shard, apart)
    before = list_files(apart)

    done = Project(apart, project.state).run("merge", ".")

    assert done.returncode == 2
    assert "is in the record ., which is merged" in done.stderr
    assert list_files(apart) == before


def test_killed_shard_is_missing(project: Project) -> None:
    """A shard that was killed has written nothing, and its scenarios are NOT_RUN."""
    numbers = {number: run_shard(project, number, 2) for number in (1, 2)}
    shutil.rmtree(numbers[2])
    merged = merge(project, numbers[1])

    assert merged["code"] == 1
    assert "NOT_RUN shard 2 of 2 is missing" in get_outcomes(merged).values()


def test_shard_of_another_commit_is_foreign(project: Project) -> None:
    """A shard that ran after another commit does not count."""
    first = run_shard(project, 1, 2)
    Git(project.top).commit("another one")
    merged = merge(project, first, run_shard(project, 2, 2))

    assert merged["code"] == 1
    assert "is foreign: commit" in str(merged["notes"])


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("wg", "#!/bin/sh\necho changed\n", "is foreign: binary"),
        ("scenarios/lib.sh", "fine() { :; }\n", "is foreign: other scripts, or other files"),
        ("manifest.toml", f"{MANIFEST}# changed\n", "is foreign: another manifest"),
    ],
)
def test_shard_of_other_files_is_foreign(
    name: str, text: str, words: str, project: Project
) -> None:
    """A shard that ran another binary, script or manifest does not count, at the same commit."""
    first = run_shard(project, 1, 2)
    project.path(name).write_text(text)
    merged = merge(project, first, run_shard(project, 2, 2))

    assert merged["code"] == 1
    assert words in str(merged["notes"])


def test_division_ignores_the_records_of_a_machine(project: Project, tmp_path: Path) -> None:
    """A machine with records and one without them divide the scenarios in the same way."""
    project.run("run")
    selection = json.loads((run_shard(project, 1, 2) / "run.json").read_text())["selection"]
    shutil.rmtree(project.path(".isosmoke"))
    shutil.rmtree(project.path("shard-1"))

    fresh = run_shard(project, 1, 2, ISOSMOKE_STATE=str(tmp_path / "fresh"))

    assert json.loads((fresh / "run.json").read_text())["selection"] == selection


def test_durations_balance_shards(project: Project) -> None:
    """The durations of a run balance later shards, and other durations make a shard foreign."""
    project.run("run")
    assert project.run("durations", "--output", "durations.json").returncode == 0
    known = json.loads(project.path("durations.json").read_text())["seconds"]
    assert known.keys() == {"good", "bad", "skips", "leaks"}
    project.path("odd.json").write_text(
        json.dumps({"schema_version": 1, "seconds": {**known, "good": 900}})
    )
    first = run_shard(project, 1, 2, "--durations", "odd.json")
    other = run_shard(project, 2, 2)

    assert "by other durations" in str(merge(project, first, other)["notes"])
    assert get_own(first) == ["good"]


def get_own(directory: Path) -> list[str]:
    """Return the names of the scenarios of a shard."""
    header = json.loads((directory / "run.json").read_text())
    return [plan["name"] for plan in header["planned"]]


def test_empty_shard_is_recorded(project: Project) -> None:
    """A shard without scenarios exits with 0, and is part of the merge."""
    done = project.run("run", "--shard", "9/9", "--output", "shard-9")
    assert done.returncode == 0, done.stderr
    assert "shard 9/9" in done.stdout
    assert get_own(project.path("shard-9")) == []
    others = [run_shard(project, number, 9) for number in range(1, 9)]

    assert len(merge(project, *others, project.path("shard-9"))["shards"]) == 9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--shard", "0/5"), "shards are numbered from 1"),
        (("--shard", "6/5"), "shards are numbered from 1"),
        (("--shard", "2of5"), "is not NUMBER/TOTAL"),
        (("--shard", "1/2", "--last-failed"), "cannot be combined with --last-failed"),
        (("--shard", "1/2", "--", "true"), "cannot be combined"),
        (("--durations", "x.json"), "--durations balances shards"),
        (("--shard", "1/2", "--durations", "x.json"), "No such file"),
        (("--shard", "1/2", "--output", "scenarios"), "is not empty"),
    ],
    ids=str,
)
def test_wrong_options_are_explained(
    arguments: tuple[str, ...], words: str, project: Project
) -> None:
    """A wrong value or combination ends with exit code 2, and nothing runs."""
    done = project.run("run", *arguments)

    assert done.returncode == 2
    assert words in done.stderr
    assert not project.path(".isosmoke").exists()


def test_secret_is_in_no_record(project: Project) -> None:
    """A secret that a script prints is in no file of a shard, of the merged run or of a report."""
    project.manifest.write_text(GOOD + 'pass_env = ["TOKEN"]\n')
    project.path("scenarios/good.sh").write_text('echo "token $TOKEN"\n')
    secret = "s3cr3t-value-of-a-token"  # noqa: S105 - of this test
    run_shard(project, 1, 1, TOKEN=secret)
    project.run("merge", "shard-1", "--output", "merged", "--report=html=html.xml", TOKEN=secret)

    written = [
        path for path in project.top.rglob("*") if path.is_file() and ".git/" not in str(path)
    ]
    assert project.path("merged/good/output-1.log").read_text().startswith("token ")
    assert [path for path in written if secret.encode() in path.read_bytes()] == []


def test_interrupted_shard_is_not_success(project: Project) -> None:
    """Scenarios that an unfinished shard did not run are NOT_RUN after the merge."""
    first = run_shard(project, 1, 1)
    shutil.rmtree(first / "skips")
    header = json.loads((first / "run.json").read_text())
    (first / "run.json").write_text(json.dumps({**header, "finished": False}))
    merged = merge(project, first)

    assert get_outcomes(merged)["skips"] == "NOT_RUN the run ended before this scenario"
    assert merged["finished"] is False
    assert merged["code"] == 1


def parse_yaml(text: str) -> dict[str, Any]:
    """Return the content of a YAML document."""
    parsed: dict[str, Any] = import_module("yaml").safe_load(text)
    return parsed


@pytest.fixture
def shell(project: Project, tmp_path: Path) -> Mapping[str, str]:
    """Return an environment in which isosmoke is installed, and `pip` installs nothing else."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "isosmoke").symlink_to(Path(sys.executable).with_name("isosmoke"))
    (programs / "pip").write_text(
        '#!/bin/sh\ncase "$*" in "install isosmoke"*) ;; *) exit 1 ;; esac\n'
    )
    (programs / "pip").chmod(0o755)
    environment = project.environment()
    return {**environment, "PATH": f"{programs}{os.pathsep}{environment['PATH']}"}


SECRET = "SECRET_OF_THE_SERVICE"  # noqa: S105 - a name
"""The variable of this test that only steps with `env` see, under the name that they give it."""


def execute(project: Project, script: str, environment: Mapping[str, str]) -> int:
    """Run the step of a recipe, and return its exit code."""
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=project.top,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode


def expect_merged(project: Project) -> None:
    """Check that a recipe has merged all shards."""
    shards = json.loads(project.path("merged/run.json").read_text())["shards"]
    assert [shard["problem"] for shard in shards] == ["", "", ""]
    assert 'tests="4"' in project.path("junit.xml").read_text()


def follow(project: Project, steps: Sequence[Any], shell: Mapping[str, str]) -> list[int]:
    """Run the steps of a job, and move artifacts as GitHub's actions do; return the exit codes."""
    codes = []
    for step in steps:
        if "run" in step:
            secrets = dict.fromkeys(step.get("env", ()), shell.get(SECRET, ""))
            visible = {name: value for name, value in shell.items() if name != SECRET}
            codes.append(execute(project, step["run"], {**visible, **secrets}))
        elif "upload-artifact" in step["uses"]:
            artifact = project.path(f"artifacts/{step['with']['name']}")
            shutil.copytree(project.path(step["with"]["path"]), artifact)
        elif "download-artifact" in step["uses"]:
            for artifact in project.path("artifacts").glob(step["with"]["pattern"]):
                shutil.copytree(artifact, project.path(step["with"]["path"]) / artifact.name)
    return codes


def test_recipe_for_github_merges_all_shards(project: Project, shell: Mapping[str, str]) -> None:
    """The steps of the recipe run, with artifacts as GitHub's actions move them."""
    jobs = parse_yaml(GITHUB)["jobs"]
    codes = []
    for number in jobs["shard"]["strategy"]["matrix"]["shard"]:
        steps = json.dumps(jobs["shard"]["steps"]).replace("${{ matrix.shard }}", str(number))
        codes += [follow(project, json.loads(steps), shell)]

    assert follow(project, jobs["merge"]["steps"], shell) == [0, 1]
    assert [code[0] for code in codes] == [0, 0, 0]
    assert max(code[1] for code in codes) == 1
    expect_merged(project)


def test_recipe_for_gitlab_merges_all_shards(project: Project, shell: Mapping[str, str]) -> None:
    """The scripts of the recipe run, with the artifacts of all jobs in one directory."""
    jobs = parse_yaml(GITLAB)
    codes = []
    for number in range(1, jobs["shard"]["parallel"] + 1):
        variables = {"CI_NODE_INDEX": str(number), "CI_NODE_TOTAL": str(jobs["shard"]["parallel"])}
        script = "\n".join(jobs["shard"]["script"])
        codes.append(execute(project, script, {**shell, **variables}))
    codes.append(execute(project, "\n".join(jobs["merge"]["script"]), shell))

    assert jobs["merge"]["needs"] == ["shard"]
    assert codes[-1] == 1
    expect_merged(project)


@pytest.fixture
def signing(project: Project, tmp_path: Path) -> tuple[Path, Path]:
    """Return the paths of a key pair, of which the committed manifest pins the public one."""
    private, public = key_pairs.write(tmp_path / "keys")
    pinned = f'[gate]\nshard_keys = ["""{public.read_text()}"""]\n'
    both = GOOD + GOOD.replace('"good"', '"also"')
    project.manifest.write_text(pinned + both)
    project.path(".gitignore").write_text("shard*\nmerged\nartifacts\n.wg\n*.xml\n")
    Git(project.top).commit("pinned")
    project.path(".wg").mkdir()
    task = {"kind": "task", "id": "task-a", "status": "done"}
    project.path(".wg/graph.jsonl").write_text(f"{json.dumps(task)}\n")
    return private, public


def expect_receipt(project: Project) -> None:
    """Check that the audit accepts the merged record of a recipe by the committed key."""
    before = project.run("audit")
    after = project.run("audit", "--merged", "merged")
    assert before.returncode == 1
    assert after.returncode == 0, after.stdout
    assert after.stdout.endswith("audit: clean\n")


def test_recipe_for_github_signs_all_shards(
    project: Project, shell: Mapping[str, str], signing: tuple[Path, Path], tmp_path: Path
) -> None:
    """The steps run, the key is only in the step that signs, and the audit accepts the merge."""
    workflow = parse_yaml(SIGNED_GITHUB)
    jobs = workflow["jobs"]
    steps = [step for step in jobs["shard"]["steps"] if "run" in step]
    assert [[*step.get("env", ())] for step in steps] == [[], [], ["SHARD_KEY"]]
    assert steps[2]["env"] == {"SHARD_KEY": "${{ secrets.SHARD_KEY }}"}
    assert jobs["shard"]["env"] == {"TASK": "${{ inputs.task }}"}
    (tmp_path / "temporary").mkdir()
    variables = {
        "TASK": "task-a",
        "GITHUB_RUN_ID": "7",
        "GITHUB_RUN_ATTEMPT": "1",
        "RUNNER_TEMP": str(tmp_path / "temporary"),
    }
    secret = {SECRET: signing[0].read_text().rstrip("\n")}
    codes = []
    for number in jobs["shard"]["strategy"]["matrix"]["shard"]:
        text = json.dumps(jobs["shard"]["steps"]).replace("${{ matrix.shard }}", str(number))
        codes += follow(project, json.loads(text), {**shell, **variables, **secret})

    assert codes == [0] * 9
    assert follow(project, jobs["merge"]["steps"], shell) == [0, 0]
    assert [*(tmp_path / "temporary").iterdir()] == []
    expect_receipt(project)


def test_recipe_for_gitlab_signs_all_shards(
    project: Project, shell: Mapping[str, str], signing: tuple[Path, Path]
) -> None:
    """The scripts run, the key is a file elsewhere, and the audit accepts the merge."""
    jobs = parse_yaml(SIGNED_GITLAB)
    total = jobs["shard"]["parallel"]
    codes = []
    for number in range(1, total + 1):
        variables = {
            "TASK": "task-a",
            "SHARD_KEY": str(signing[0]),
            "CI_NODE_INDEX": str(number),
            "CI_NODE_TOTAL": str(total),
            "CI_PIPELINE_ID": "7",
        }
        for part in (jobs["shard"]["script"], jobs["shard"]["after_script"]):
            codes += [execute(project, "\n".join(part), {**shell, **variables})]
    codes += [execute(project, "\n".join(jobs["merge"]["script"]), shell)]

    assert codes == [0] * (2 * total + 1)
    expect_receipt(project)
