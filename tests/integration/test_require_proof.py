"""The rule `[gate] require_proof`: a new scenario has to be proven before it counts."""

import json
import shutil
from pathlib import Path

import pytest

from support import available, bridged_wg
from support.git_repositories import Git
from support.project import Project

OLD = '[[scenario]]\nname = "old"\nscript = "scenarios/old.sh"\nowners = ["task-a"]\n'
NEW = '\n[[scenario]]\nname = "one"\nscript = "scenarios/one.sh"\nowners = ["task-b"]\n'
RULE = "[gate]\nrequire_proof = true\n\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a repository on a branch that adds a scenario to a manifest with the rule."""
    available.require_engine("bubblewrap")
    project = Project.within(tmp_path, RULE + OLD)
    project.path("scenarios/old.sh").write_text("test -n x\n")
    project.path("scenarios/one.sh").write_text(". scenarios/lib.sh\n[ $(wg) = wg ]\n")
    project.path("broken").write_text("#!/bin/sh\necho broken\n")
    project.path("broken").chmod(0o755)
    git = Git(project.top)
    git.commit("base")
    git("checkout", "--quiet", "-b", "task")
    project.manifest.write_text(RULE + OLD + NEW)
    git.commit("add a scenario")
    return project


def prove(project: Project, *arguments: str) -> None:
    """Prove the new scenario."""
    binaries = ("--broken", "broken", "--fixed", "wg")
    done = project.run("prove", "one", *binaries, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def find_kinds(project: Project) -> list[str]:
    """Return the kinds of the losses that `check` reports."""
    return [loss["kind"] for loss in json.loads(project.run("check", "--json").stdout)["losses"]]


def test_gate_is_shut_without_a_proof(project: Project) -> None:
    """Nothing runs, the gate names the scenario and the command, and a proof opens it."""
    before = project.run("gate", "task-b")
    prove(project)
    after = project.run("gate", "task-b")

    assert before.returncode == 1
    assert "SHUT for 'task-b': new scenarios without a proof" in before.stderr
    assert "unproven (1): one" in before.stderr
    assert "isosmoke prove one --broken BIN --fixed BIN" in before.stderr
    assert (after.returncode, "OPEN" in after.stderr) == (0, True), after.stderr


def test_bridged_gate_is_shut_without_a_proof(project: Project) -> None:
    """The scenarios of a call by wg are refused before anything runs or is reported."""
    bridged_wg.expect_refusal(
        project.manifest, project.create_caller(), r"1 new scenario has no proof .*: one"
    )


def test_reviewed_scenario_needs_no_proof(project: Project) -> None:
    """A scenario of the main branch is not new."""
    assert project.run("gate", "task-a").returncode == 0


def test_check_refuses_unproven_scenario(project: Project) -> None:
    """The loss has its own kind, and goes away with a proof."""
    done = project.run("check")

    assert done.returncode == 1
    assert "scenario 'one': is new and has no proof" in done.stdout
    assert "REFUSED, 0 lost or weakened, 1 without a proof" in done.stderr
    assert "isosmoke prove NAME" in done.stderr
    assert find_kinds(project) == ["scenario-unproven"]
    prove(project)
    assert find_kinds(project) == []


CHANGES = {
    "the script": ("scenarios/one.sh", "true\n"),
    "a sourced file": ("scenarios/lib.sh", "exit 0\n"),
    "the entry": ("manifest.toml", RULE + OLD + NEW + "timeout_seconds = 9\n"),
}


@pytest.mark.parametrize(("name", "text"), CHANGES.values(), ids=CHANGES)
def test_changed_scenario_has_to_be_proven_again(project: Project, name: str, text: str) -> None:
    """A proof is of the script, what it sources, and the entry."""
    prove(project)
    project.path(name).write_text(text)

    assert find_kinds(project) == ["scenario-unproven"]
    assert project.run("gate", "task-b").returncode == 1


def test_rebuilt_binary_keeps_the_proof(project: Project) -> None:
    """A proof is about the scenario, so that another binary does not end it."""
    prove(project)
    project.binary.write_text("#!/bin/sh\n# rebuilt\necho wg\n")

    assert project.run("gate", "task-b").returncode == 0


def test_committed_proof_counts(project: Project) -> None:
    """A proof next to the manifest counts in a clone, which has no records."""
    project.path("proofs").mkdir()
    prove(project, "--output", "proofs/one.json")
    shutil.rmtree(project.path(".isosmoke"))

    assert find_kinds(project) == []
    project.path("proofs/one.json").write_text("{}")
    assert find_kinds(project) == ["scenario-unproven"]


def test_forged_proof_of_one_binary_does_not_count(project: Project) -> None:
    """A proof whose outcomes or binaries contradict it proves nothing."""
    prove(project, "--output", "p.json")
    (file,) = project.top.glob(".isosmoke/proofs/*.json")
    document = json.loads(file.read_text())
    about = document["predicate"]["isosmoke"]
    for key, value in (("outcome", "PASS"), ("sha256", about["fixed"]["sha256"])):
        changed = {**about, "broken": {**about["broken"], key: value}}
        file.write_text(
            json.dumps({**document, "predicate": {**document["predicate"], "isosmoke": changed}})
        )
        assert find_kinds(project) == ["scenario-unproven"]


def test_commit_on_main_branch_is_no_review(project: Project) -> None:
    """A scenario that was committed on the main branch under the rule still needs a proof.

    Here the manifest began with the rule, so that this is true for its first scenario as well.
    """
    git = Git(project.top)
    git("checkout", "--quiet", "main")
    git("merge", "--quiet", "task")
    project.path("note").write_text("later\n")
    git.commit("later")

    assert find_kinds(project) == ["scenario-unproven", "scenario-unproven"]
    assert project.run("gate", "task-b").returncode == 1
    assert project.run("gate", "task-a").returncode == 1


def test_scenarios_from_before_the_rule_are_exempt(project: Project) -> None:
    """A project that turns the rule on does not have to prove all its scenarios."""
    git = Git(project.top)
    git("checkout", "--quiet", "main")
    project.manifest.write_text(OLD + NEW)
    git("commit", "--quiet", "--amend", "--all", "--message", "base without the rule")
    project.manifest.write_text(RULE + OLD + NEW)
    git.commit("turn the rule on")

    assert find_kinds(project) == []
    assert project.run("gate", "task-b").returncode == 0


def test_rule_cannot_be_turned_off(project: Project) -> None:
    """To remove the rule is a loss."""
    project.manifest.write_text(OLD + NEW)

    assert find_kinds(project) == ["gate-weakened"]


def test_every_scenario_is_new_without_a_repository(project: Project) -> None:
    """If nothing can be compared, the gate requires each proof."""
    shutil.rmtree(project.path(".git"))

    assert project.run("gate", "task-a").returncode == 1
