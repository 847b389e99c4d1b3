"""The rule `[gate] require_teeth`: a new or rewritten scenario has to be shown to bite."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from support import available, bridged_wg
from support.git_repositories import Git
from support.paths import TESTS
from support.project import Project

RULE = "[gate]\nrequire_teeth = true\n\n"
OLD = (
    '[[scenario]]\nname = "old"\nscript = "scenarios/old.sh"\nowners = ["task-a"]\n'
    'teeth = ["put"]\n'
)
NEW = (
    '\n[[scenario]]\nname = "one"\nscript = "scenarios/one.sh"\nowners = ["task-b"]\n'
    'teeth = ["put"]\n'
)
BITES = (
    'set -e\n. "$(dirname "$0")/lib.sh"\ncd "$(mktemp -d)"\nsaid=$(wg put apple)\n'
    '[ "$said" = "stored apple" ]\n[ "$(cat names)" = apple ]\n'
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a repository on a branch that adds a scenario, and a receipt that it bites.

    The manifest has the rule. The tests copy the repository, because a measurement costs seconds.
    """
    available.require_engine("bubblewrap")
    project = Project.within(tmp_path_factory.mktemp("template"), RULE + OLD)
    shutil.copyfile(TESTS / "planted/depot", project.binary)
    project.path("scenarios/lib.sh").write_text(": shared\n")
    project.path("scenarios/old.sh").write_text(BITES)
    project.path("scenarios/one.sh").write_text(BITES)
    git = Git(project.top)
    git.commit("base")
    git("checkout", "--quiet", "-b", "task")
    project.manifest.write_text(RULE + OLD + NEW)
    git.commit("add a scenario")
    measure(project)
    return project


@pytest.fixture
def measured(template: Project, tmp_path: Path) -> Project:
    """Return a copy of the repository with its receipt."""
    project = Project(tmp_path / "project", tmp_path / "state")
    (tmp_path / "home").mkdir()
    shutil.copytree(template.top, project.top, symlinks=True)
    return project


@pytest.fixture
def project(measured: Project) -> Project:
    """Return a copy of the repository without a receipt."""
    shutil.rmtree(measured.path(".isosmoke"))
    return measured


def measure(project: Project, *arguments: str, code: int = 0) -> None:
    """Measure the declared teeth of the new scenario."""
    done = project.run("teeth", "one", "--declared", *arguments)
    assert done.returncode == code, done.stdout + done.stderr


def ask(project: Project, task: str = "task-b", *arguments: str) -> tuple[int, str]:
    """Return the exit code and the lines of the gate."""
    done = project.run("gate", task, *arguments)
    return done.returncode, done.stderr


def refuse(project: Project, *parts: str, task: str = "task-b") -> None:
    """Check that the gate is shut before anything runs, with these parts in its lines."""
    code, text = ask(project, task)
    assert code == 1, text
    assert "scenarios without teeth ([gate] require_teeth); nothing was run" in text
    for part in parts:
        assert part in text


def find_receipt(project: Project) -> Path:
    """Return the only receipt of teeth."""
    (path,) = project.top.glob(".isosmoke/proofs/*.teeth-*.json")
    return path


def find_kinds(project: Project) -> list[str]:
    """Return the kinds of the losses that `check` reports."""
    return [loss["kind"] for loss in json.loads(project.run("check", "--json").stdout)["losses"]]


def test_gate_is_shut_without_a_receipt(project: Project) -> None:
    """The gate names the scenario and the command, and the check reports a loss of its own kind."""
    refuse(
        project,
        "toothless one: has no receipt that it bites",
        "try: isosmoke teeth one --declared\n",
    )
    assert find_kinds(project) == ["scenario-toothless"]


def test_receipt_opens_the_gate(measured: Project) -> None:
    """With a receipt that the scenario bites, the gate runs it, and the check finds nothing."""
    code, text = ask(measured)

    assert (code, "OPEN" in text) == (0, True), text
    assert find_kinds(measured) == []


def test_gate_names_the_survivor(project: Project) -> None:
    """The refusal has the subcommand, the sabotage, and the command that explains it."""
    project.path("scenarios/one.sh").write_text(BITES.replace('[ "$(cat names)" = apple ]', ""))
    measure(project, code=1)

    command = "isosmoke teeth one --explain put --sabotage replay"
    survivor = "passes although `wg put` only prints its message (replay SURVIVED)"
    refuse(project, f"toothless one: {survivor}", f"try: {command}\n")
    check = project.run("check")
    assert f"{survivor} ([gate] require_teeth); try: {command}" in check.stdout
    assert "REFUSED, 0 lost or weakened, 1 without teeth" in check.stderr
    explained = project.run(*command.split()[1:])
    assert (explained.returncode, "SURVIVED" in explained.stdout) == (0, True), explained.stderr


WEAKENED = {
    "a trap": f"trap 'exit 0' EXIT\n{BITES}",
    "an early exit": BITES.replace("said=", "exit 0\nsaid="),
    "a shrug": BITES.replace("= apple ]", "= apple ] || true"),
}


def test_weakened_script_is_refused(measured: Project) -> None:
    """A receipt of the old script does not count; without a new one the gate stays shut."""
    reason = "its receipt no longer holds: script scenarios/one.sh changed"
    for text in WEAKENED.values():
        measured.path("scenarios/one.sh").write_text(text)
        refuse(measured, f"toothless one: {reason}")
    assert find_kinds(measured) == ["scenario-toothless"]


def test_weakened_script_gets_no_new_receipt(project: Project) -> None:
    """To measure a script with a trap again records that nothing is noticed."""
    project.path("scenarios/one.sh").write_text(WEAKENED["a trap"])
    measure(project, code=1)

    refuse(project, "toothless one: passes although `wg put` does nothing (noop SURVIVED)")


def test_reviewed_scenario_is_refused_once_rewritten(project: Project) -> None:
    """A scenario of the main branch needs no receipt until its script changes."""
    before, text = ask(project, "task-a")
    project.path("scenarios/old.sh").write_text(WEAKENED["a trap"])

    assert before == 0, text
    refuse(project, "toothless old: has no receipt that it bites", task="task-a")
    assert find_kinds(project) == ["scenario-toothless", "scenario-toothless"]


CHANGES = {
    "a sourced file": ("scenarios/lib.sh", "exit 0\n", "file scenarios/lib.sh changed"),
    "the entry": (
        "manifest.toml",
        RULE + OLD + NEW + "timeout_seconds = 9\n",
        "scenario one changed",
    ),
    "the binary": (
        "wg",
        (TESTS / "planted/depot").read_text() + "# rebuilt\n",
        "it is of another binary",
    ),
}


@pytest.mark.parametrize(("name", "text", "reason"), CHANGES.values(), ids=CHANGES)
def test_changed_input_ends_a_receipt(measured: Project, name: str, text: str, reason: str) -> None:
    """A receipt is of the entry, the script, what it sources, and the binary."""
    measured.path(name).write_text(text)

    refuse(measured, "toothless one: its receipt no longer holds: ", reason)


def test_undeclared_teeth_are_refused(project: Project) -> None:
    """A new scenario has to declare what it tests."""
    project.manifest.write_text(RULE + OLD + NEW.replace('teeth = ["put"]\n', ""))

    refuse(project, "toothless one: declares no `teeth`", "isosmoke teeth one --declared")


def test_uncalled_subcommand_is_refused(project: Project) -> None:
    """A declared subcommand that the scenario does not call is an error everywhere."""
    project.manifest.write_text(RULE + OLD + NEW.replace('["put"]', '["put", "serve stop"]'))
    done = project.run("teeth", "one", "--declared")

    flaw = "never calls `wg serve stop`, which its `teeth` names"
    assert done.returncode == 1
    assert f"TOOTHLESS one: {flaw}" in done.stdout
    refuse(project, f"toothless one: {flaw}")


def edit(project: Project, **changes: Any) -> None:
    """Change own fields in the only receipt of teeth."""
    path = find_receipt(project)
    document = json.loads(path.read_text())
    document["predicate"]["isosmoke"] |= changes
    path.write_text(json.dumps(document))


def test_forged_receipts_are_refused(project: Project) -> None:
    """A receipt that was edited, or is of another scenario, does not count."""
    project.path("scenarios/one.sh").write_text(BITES.replace('[ "$(cat names)" = apple ]', ""))
    measure(project, code=1)
    path = find_receipt(project)
    document = json.loads(path.read_text())
    cells = document["predicate"]["isosmoke"]["cells"]

    edit(project, cells=[{**cell, "verdict": "BITES"} for cell in cells])
    refuse(project, "its receipt proves nothing: its result contradicts its verdicts")
    edit(project, cells=[{**cell, "verdict": "BITES", "outcome": "FAIL"} for cell in cells][:2])
    refuse(project, "toothless one: was not measured with lie of `wg put`")
    edit(project, scenario="old")
    refuse(project, "toothless one: has no receipt that it bites")
    path.write_text("{}")
    refuse(project, "toothless one: has no receipt that it bites")


def test_receipt_of_another_scenario_does_not_count(measured: Project) -> None:
    """A receipt says nothing about a scenario with the same script and the same teeth."""
    edit(measured, scenario="old")
    measured.path("scenarios/old.sh").write_text(BITES + ":\n")
    measured.path("scenarios/one.sh").write_text(BITES + ":\n")

    refuse(measured, "toothless old: its receipt no longer holds: ", task="task-a")
    refuse(measured, "toothless one: has no receipt that it bites")


FAKED = 'cd "$(mktemp -d)"\nif wg check put; then exit 1; fi\n'
"""A script that never calls `wg put`; the pattern `_ put` gives its only call this name."""


def test_patterns_of_the_caller_count_for_nothing(project: Project) -> None:
    """A measurement that names other calls has no receipt, and an edited one is refused."""
    project.path("scenarios/one.sh").write_text(FAKED)
    own = ("teeth", "one", "--declared", "--pattern", "_ put")
    done, kept = project.run(*own), project.run(*own, "--receipts", "proofs")

    assert "TOOTHLESS" not in done.stdout
    assert "WARNING: no receipts: a gate accepts no measurement by other patterns" in done.stderr
    assert (kept.returncode, project.path("proofs").exists()) == (2, False)
    refuse(project, "toothless one: has no receipt that it bites")


def test_receipt_by_other_patterns_is_refused(measured: Project) -> None:
    """A receipt with patterns that the manifest does not have counts nowhere."""
    edit(measured, patterns=["_ put"])
    reason = "its receipt is by other patterns than those of [gate] teeth_patterns"

    refuse(measured, f"toothless one: {reason}", "try: isosmoke teeth one --declared\n")
    done = measured.run("done", "task-b")
    assert (done.returncode, reason in done.stderr) == (1, True), done.stderr
    assert find_kinds(measured) == ["scenario-toothless"]


RULED = RULE.strip() + '\nteeth_patterns = ["put"]\n\n'


def test_patterns_of_a_task_count_for_nothing(project: Project) -> None:
    """A task cannot add patterns for its own scenario: they are a loss, and shut the gate."""
    project.manifest.write_text(RULED + OLD + NEW)
    measure(project)
    reason = "counts by no receipt while a change of [gate] teeth_patterns is not reviewed"

    refuse(project, f"toothless one: {reason}", "try: isosmoke check\n")
    done = project.run("done", "task-b")
    assert (done.returncode, reason in done.stderr) == (1, True), done.stderr
    assert sorted(find_kinds(project)) == ["gate-weakened", "scenario-toothless"]


def review_patterns(project: Project) -> Git:
    """Add the patterns on the main branch, as reviewed, and begin the branch of the task anew."""
    git = Git(project.top)
    git("checkout", "--quiet", "main")
    project.manifest.write_text(RULED + OLD)
    git.commit("name the subcommands")
    losses = json.loads(project.run("check", "--json").stdout)["losses"]
    (loss,) = [loss for loss in losses if loss["kind"] == "gate-weakened"]
    git(
        "commit",
        "--quiet",
        "--allow-empty",
        "-m",
        f"x\n\nIsosmoke-Reviewed: [gate] {loss['digest']}",
    )
    git("checkout", "--quiet", "-B", "task")
    project.manifest.write_text(RULED + OLD + NEW)
    git.commit("add a scenario")
    return git


def test_reviewed_patterns_name_the_calls(project: Project) -> None:
    """With the patterns of the main branch, gate, check and audit accept a receipt by them."""
    project.path(".wg").mkdir()
    task = {"kind": "task", "id": "task-b", "status": "done"}
    project.path(".wg/graph.jsonl").write_text(f"{json.dumps(task)}\n")
    git = review_patterns(project)
    measure(project)
    code, text = ask(project)
    assert code == 0, text
    assert find_kinds(project) == []
    assert project.run("audit").returncode == 0

    project.manifest.write_text(RULE + OLD + NEW)
    git.commit("drop the patterns")
    audit = project.run("audit", "--strict")
    assert audit.returncode == 1
    assert "since its receipt: policy [gate] changed" in audit.stdout


def test_bridged_gate_is_shut(project: Project) -> None:
    """The scenarios of a call by wg are refused before anything runs or is reported."""
    bridged_wg.expect_refusal(
        project.manifest, project.create_caller(), r"one has no receipt that it bites \(\[gate\]"
    )


def test_committed_receipt_counts(measured: Project) -> None:
    """A receipt next to the manifest counts in a clone; a check takes one of any binary."""
    measured.path("proofs").mkdir()
    find_receipt(measured).rename(measured.path("proofs/one.teeth.json"))
    shutil.rmtree(measured.path(".isosmoke"))

    assert ask(measured)[0] == 0
    measured.binary.write_text("#!/bin/sh\necho rebuilt\n")
    assert find_kinds(measured) == []
    refuse(measured, "it is of another binary")


def test_named_binary_is_in_the_command(project: Project) -> None:
    """The command measures the binary and the manifest that the gate was asked about."""
    project.binary.rename(project.path("other"))
    code, text = ask(project, "task-b", "--binary", "other", "--manifest", "manifest.toml")

    assert code == 1
    command = "isosmoke teeth one --declared --manifest manifest.toml --binary other"
    assert f"try: {command}\n" in text
    done = project.run(*command.split()[1:], "--receipts", "proofs")
    assert done.returncode == 0, done.stdout
    assert find_receipt(project).read_text() == project.path("proofs/one.teeth.json").read_text()
    assert ask(project, "task-b", "--binary", "other")[0] == 0


def test_rule_cannot_be_turned_off(project: Project) -> None:
    """To remove the rule, or a member of `teeth`, is a loss."""
    project.manifest.write_text(OLD + NEW)

    assert find_kinds(project) == ["gate-weakened"]
    project.manifest.write_text(RULE + OLD.replace('["put"]', "[]") + NEW)
    assert sorted(set(find_kinds(project))) == ["scenario-toothless", "teeth-lost"]


def test_every_scenario_is_new_without_a_repository(project: Project) -> None:
    """If nothing can be compared, the gate requires each receipt."""
    shutil.rmtree(project.path(".git"))

    refuse(project, "toothless old: has no receipt that it bites", task="task-a")


def test_declared_needs_teeth(project: Project) -> None:
    """Without declared subcommands there is nothing to measure; sabotages cannot be selected."""
    project.manifest.write_text(OLD.replace('teeth = ["put"]\n', ""))
    nothing = project.run("teeth", "--declared")
    both = project.run("teeth", "--declared", "--sabotage", "noop")

    assert (nothing.returncode, both.returncode) == (2, 2)
    assert "no selected scenario declares teeth" in nothing.stderr
    assert "--declared cannot be combined with --sabotage" in both.stderr
