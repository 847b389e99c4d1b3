"""A gate that is divided among machines: signed shards, their merge, and the audit of it."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support import available, key_pairs
from support.git_repositories import Git
from support.project import BAD, GOOD, Project
from support.shard_records import edit

OWN = GOOD + GOOD.replace('"good"', '"also"') + BAD


@dataclass(frozen=True, slots=True)
class Signing:
    """A project with a completed task, whose committed manifest pins `public`."""

    project: Project
    private: Path
    public: Path

    def gate(self, number: int, total: int = 2, run: str = "1", task: str = "task-a") -> Path:
        """Run and sign a shard of the gate, and return the directory of its record."""
        directory = self.project.path(f"shard-{run}-{number}")
        options = ("--shard", f"{number}/{total}", "--run-id", run, "--output", directory.name)
        done = self.project.run("gate", task, *options)
        assert directory.is_dir(), done.stderr
        return self.sign(directory, self.private)

    def sign(self, directory: Path, key: Path) -> Path:
        """Sign the receipt of a shard, and return the directory."""
        done = self.project.run("receipt", "sign", "--key", str(key), f"{directory}/receipt.json")
        assert done.returncode == 0, done.stderr
        return directory

    def merge(self, name: str, *directories: Path) -> Path:
        """Merge shards, and return the directory of the merged record."""
        self.project.run("merge", *map(str, directories), "--output", name)
        assert self.project.path(name).is_dir()
        return self.project.path(name)

    def audit(self, *arguments: str) -> tuple[int, list[tuple[str, str]]]:
        """Return the exit code of an audit, and the kind and text of each loss."""
        done = self.project.run("audit", "--json", *arguments)
        assert done.stdout, done.stderr
        losses = json.loads(done.stdout)["losses"]
        return done.returncode, [
            (loss["kind"], f"{loss['place']}: {loss['message']}") for loss in losses
        ]


def create(directory: Path) -> Signing:
    """Create a project in an empty directory."""
    available.require_engine("bubblewrap")
    private, public = key_pairs.write(directory / "keys")
    pinned = f'[gate]\nshard_keys = ["""{public.read_text()}"""]\n'
    project = Project.within(directory, pinned + OWN)
    project.path(".gitignore").write_text("shard-*\nmerged*\n.wg\n")
    Git(project.top).commit("first")
    project.path(".wg").mkdir()
    task = {"kind": "task", "id": "task-a", "status": "done"}
    project.path(".wg/graph.jsonl").write_text(f"{json.dumps(task)}\n")
    return Signing(project, private, public)


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Signing:
    """Return a project in which both shards of run 1 are signed; tests must not change it."""
    signing = create(tmp_path_factory.mktemp("signed"))
    signing.gate(1)
    signing.gate(2)
    return signing


@pytest.fixture
def shards(signed: Signing, tmp_path: Path) -> list[Path]:
    """Return copies of the signed shards."""
    return [
        Path(shutil.copytree(signed.project.path(f"shard-1-{number}"), tmp_path / f"s{number}"))
        for number in (1, 2)
    ]


@pytest.fixture(scope="module")
def whole(signed: Signing) -> Path:
    """Return the merge of both shards; tests must not change it."""
    shards = (signed.project.path(f"shard-1-{number}") for number in (1, 2))
    return signed.merge("merged", *shards)


@pytest.fixture
def merged(whole: Path, tmp_path: Path) -> Path:
    """Return a copy of the merge of both shards."""
    return Path(shutil.copytree(whole, tmp_path / "merged"))


def test_signed_merge_satisfies_audit(signed: Signing, merged: Path, tmp_path: Path) -> None:
    """The task has a receipt with the merged record and a pinned key, and none without it."""
    assert signed.audit() == (
        1,
        [("receipt-missing", "task-a: is done and owns good, also, but has no receipt")],
    )
    assert signed.audit("--merged", str(merged)) == (0, [])
    assert signed.audit("--merged", str(merged), "--key", str(signed.public)) == (0, [])
    assert signed.audit("--merged", str(merged), "--strict")[0] == 1  # it completes no task
    envelope = json.loads((merged / "run.json").read_text())["shards"][0]["envelope"]
    (tmp_path / "first.dsse").write_text(envelope)
    shown = signed.project.run("receipt", "show", str(tmp_path / "first.dsse"))
    assert "FAILED task-a shard 1/2 of run 1 at" in shown.stdout


def test_shard_opens_nothing(signed: Signing, shards: list[Path], tmp_path: Path) -> None:
    """The receipt of a shard is of a shut gate, also for `verify`, and as a file among receipts."""
    receipt = json.loads((shards[0] / "receipt.json").read_text())
    about = receipt["predicate"]["isosmoke"]
    project = Project(Path(shutil.copytree(signed.project.top, tmp_path / "p")), tmp_path / "s")
    receipts = project.path(".isosmoke/receipts")
    receipts.mkdir()
    about["open"] = True
    (receipts / "forged.json").write_text(json.dumps(receipt))

    verified = project.run(
        "receipt", "verify", "--key", str(signed.public), "shard-1-1/receipt.dsse"
    )
    audited = project.run("audit")

    assert not signed.project.path(".isosmoke/receipts").exists()
    assert verified.returncode == 1
    assert "it is of shard 1/2, which opens no gate" in verified.stdout
    assert "task-a: is done and owns good, also, but has no receipt" in audited.stdout


ATTACKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "edited result": (
        lambda merged: edit(merged / "good/result.json", lambda it: it.update(reason="fine")),
        "its results are not those that were signed",
    ),
    "removed result": (
        lambda merged: (merged / "good/result.json").unlink(),
        "its results are not those that were signed",
    ),
    "truncated": (
        lambda merged: (merged / "run.json").write_text((merged / "run.json").read_text()[:-99]),
        "cannot be used",
    ),
    "stripped": (
        lambda merged: edit(merged / "run.json", lambda run: run["shards"][1].update(envelope="")),
        "shard 2 of 2 has no signed receipt",
    ),
    "copied": (
        lambda merged: edit(
            merged / "run.json",
            lambda run: run["shards"][1].update(envelope=run["shards"][0]["envelope"]),
        ),
        "shard 2 of 2 has the receipt of shard 1 of 2",
    ),
    "no merge": (
        lambda merged: edit(merged / "run.json", lambda run: run.update(shards=[])),
        "it is not the record of a merge",
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_edited_merge_is_refused(name: str, signed: Signing, merged: Path) -> None:
    """A record that was edited after the merge leaves the task without a receipt."""
    change, reason = ATTACKS[name]
    change(merged)

    code, losses = signed.audit("--merged", str(merged))

    assert code == 1
    assert [kind for kind, _ in losses] == ["merged-refused", "receipt-missing"]
    assert reason in losses[0][1]


def test_shard_without_a_signature_is_named(
    signed: Signing, shards: list[Path], tmp_path: Path
) -> None:
    """A shard that was not signed, or is missing, is in the merge, and refused by the audit."""
    (shards[1] / "receipt.dsse").unlink()
    unsigned = signed.merge(f"merged-{tmp_path.name}-1", *shards)
    missing = signed.merge(f"merged-{tmp_path.name}-2", shards[0])
    doubled = signed.merge(f"merged-{tmp_path.name}-3", *shards, signed.project.path("shard-1-1"))

    for merged, reason in (
        (unsigned, "shard 2 of 2 has no signed receipt"),
        (missing, "shard 2 of 2 is missing"),
        (doubled, "shard 1 of 2 has 2 records"),
    ):
        code, losses = signed.audit("--merged", str(merged))
        assert code == 1
        assert reason in losses[0][1]


def test_key_that_is_only_in_the_work_tree_is_not_pinned(tmp_path: Path) -> None:
    """An agent that signs with its own key, and adds it to the manifest, gets nowhere."""
    signing = create(tmp_path)
    private, public = key_pairs.write(tmp_path / "own")
    added = signing.project.manifest.read_text().replace(
        signing.public.read_text(), public.read_text()
    )
    signing.project.manifest.write_text(added)
    merged = signing.merge("merged", signing.sign(signing.gate(1, 1), private))

    code, losses = signing.audit("--merged", str(merged))
    checked = signing.project.run("check")

    assert code == 1
    words = "shard 1 of 1: no signature is of the key in [gate] shard_keys of the committed"
    assert words in losses[0][1]
    assert "shard_keys: 1 added, whose owner can sign for a task" in checked.stdout
    assert signing.audit("--merged", str(merged), "--key", str(public))[0] == 0


def test_receipt_of_another_run_is_refused(tmp_path: Path) -> None:
    """The receipt of an older run at the same commit cannot take the place of a failure."""
    signing = create(tmp_path)
    older = signing.gate(2, run="old")
    merged = signing.merge("merged", signing.gate(1, run="new"), older)

    code, losses = signing.audit("--merged", str(merged))

    assert code == 1
    assert "shard 2 of 2 is foreign to shard 1 of 2: another run" in losses[0][1]


def test_record_of_another_repository_is_refused(
    signed: Signing, merged: Path, tmp_path: Path
) -> None:
    """A project with the same files and keys has other commits."""
    other = Project.within(tmp_path, signed.project.manifest.read_text())
    Git(other.top).commit("another first", _gitignore=".wg\n")
    shutil.copytree(signed.project.path(".wg"), other.path(".wg"))

    done = other.run("audit", "--merged", str(merged))

    assert done.returncode == 1
    assert "is of no branch or tag of this repository" in done.stdout


def test_failure_in_a_shard_keeps_the_gate_shut(tmp_path: Path) -> None:
    """The shard exits with 1, and its signed receipt is that of a shut gate."""
    signing = create(tmp_path)
    graph = {"kind": "task", "id": "task-b", "status": "done"}
    signing.project.path(".wg/graph.jsonl").write_text(f"{json.dumps(graph)}\n")
    options = ("--shard", "1/1", "--run-id", "1", "--output", "shard-1")
    done = signing.project.run("gate", "task-b", "--json", *options)
    document: Mapping[str, Any] = json.loads(done.stdout)
    signing.sign(signing.project.path("shard-1"), signing.private)
    merged = signing.merge("merged", signing.project.path("shard-1"))

    code, losses = signing.audit("--merged", str(merged))

    assert (done.returncode, document["open"], document["exit_code"]) == (1, False, 1)
    assert "SHUT for 'task-b': shard 1/1: blocked by 1 of 1 scenario" in document["lines"][0]
    assert code == 1
    assert [kind for kind, _ in losses] == ["merged-shut", "receipt-shut"]
    assert "keeps the gate shut: shard 1 of 1: blocked by 1 of 1 scenario" in losses[0][1]


SHARD = ("--shard", "1/2", "--output", "shard", "--run-id", "1")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gate", "task-a", "--shard", "1/2"), "requires --output DIR and --run-id ID"),
        (("gate", "task-a", *SHARD[:4]), "requires --output DIR and --run-id ID"),
        (("gate", "task-a", *SHARD[:4], "--run-id", " "), "requires --output DIR and --run-id ID"),
        (("gate", "task-a", "--output", "x"), "--output is of a shard"),
        (("gate", "task-a", "--run-id", "x"), "--run-id is of a shard"),
        (("gate", "task-a", "--durations", "x"), "--durations balances shards"),
        (("gate", "task-a", "--skip-smoke", *SHARD), "cannot be combined"),
        (("gate", "task-z", *SHARD), "owns no scenario, so that there is nothing to divide"),
        (
            ("gate", "task-a", "--shard", "1/2", "--run-id", "1", "--output", "scenarios"),
            "not empty",
        ),
        (("audit", "--key", "key"), "--key is of merged records"),
        (("audit", "--merged", "nowhere"), "nowhere: no such directory"),
        (("audit", "--merged", "scenarios", "--key", "nowhere"), "nowhere: No such file"),
    ],
    ids=str,
)
def test_wrong_options_are_explained(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    """A wrong combination ends with exit code 2, and nothing runs."""
    project = Project.within(tmp_path)
    project.path(".wg").mkdir()
    project.path(".wg/graph.jsonl").write_text("")

    done = project.run(*arguments)

    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert not project.path("shard").exists()
