"""A receipt is valid while nothing that was tested has changed, and no longer."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from isosmoke.engines import AUTO, EngineChoice
from isosmoke.gate import in_toto, input_copies, receipt, receipt_inputs
from isosmoke.host.git import Checkout
from isosmoke.manifest.loader import load
from support import available
from support.git_repositories import Git
from support.project import GOOD, Project


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a Git repository whose `task-a` has passed the gate; tests must not change it."""
    available.require_engine("bubblewrap")
    project = Project.within(tmp_path_factory.mktemp("gated"))
    project.path("scenarios/more.sh").write_text("true\n")
    project.path("scenarios/lib.sh").write_text(
        'HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)\n'
        '. "$HERE/more.sh"\nfine() { cat "$HERE/notes.txt"; }\n'
    )
    project.path("scenarios/notes.txt").write_text("fine\n")
    git = Git(project.top)
    git("add", "--all")
    git("commit", "--quiet", "--message", "all of it")
    done = project.run("gate", "task-a")
    assert done.returncode == 0, done.stderr
    project.top.rename(project.top.parent / "untouched")
    return project


@pytest.fixture
def project(gated: Project) -> Iterator[Project]:
    """Yield a copy of that project for one test, always at the path that the receipt names."""
    shutil.copytree(gated.top.parent / "untouched", gated.top)
    yield gated
    shutil.rmtree(gated.top)


def verify(project: Project, *options: str) -> tuple[int, str]:
    """Return the exit code and output of `receipt verify` for the project's receipt."""
    (file,) = project.receipts()
    done = project.run("receipt", "verify", str(file), *options)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def flip_byte(name: str) -> Callable[[Project], object]:
    """Return a function that changes the last byte of a file before its newline."""

    def change(project: Project) -> None:
        content = project.path(name).read_bytes().rstrip(b"\n")
        project.path(name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]) + b"\n")

    return change


def replace_text(before: str, after: str) -> Callable[[Project], object]:
    """Return a function that changes the manifest's text."""
    return lambda project: project.manifest.write_text(
        project.manifest.read_text().replace(before, after)
    )


CHANGES = {
    "the binary": (flip_byte("wg"), "binary wg changed"),
    "the script": (flip_byte("scenarios/good.sh"), "script scenarios/good.sh changed"),
    "what it sources": (flip_byte("scenarios/lib.sh"), "file scenarios/lib.sh changed"),
    "what that sources": (flip_byte("scenarios/more.sh"), "file scenarios/more.sh changed"),
    "what that names": (flip_byte("scenarios/notes.txt"), "file scenarios/notes.txt changed"),
    "its entry": (replace_text("It works.", "It work."), "scenario good changed"),
    "its owners": (replace_text('["task-a"]', '["task-a", "b"]'), "scenario good changed"),
    "a default": (replace_text(GOOD, "[defaults]\nretries = 1\n" + GOOD), "scenario good changed"),
    "the policy": (replace_text(GOOD, "[gate]\nmax_skips = 0\n" + GOOD), "policy [gate] changed"),
    "its name": (replace_text('"good"', '"best"'), "scenario good was removed"),
    "no binary": (lambda project: project.binary.unlink(), "binary wg was removed"),
    "no script": (lambda project: project.path("scenarios/good.sh").unlink(), "good.sh"),
    "no library": (
        lambda project: project.path("scenarios/lib.sh").unlink(),
        "file scenarios/lib.sh was removed",
    ),
    "no manifest": (lambda project: project.manifest.unlink(), "manifest.toml: no such file"),
}


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
def test_any_change_invalidates_receipt(
    project: Project, change: Callable[[Project], object], message: str
) -> None:
    """The receipt is valid before the change; afterwards the report names the change."""
    assert verify(project)[0] == 0

    change(project)

    code, output = verify(project)
    assert code == 1
    verdict, *reasons = output.splitlines()
    assert verdict.endswith(": not valid")
    assert message in "\n".join(reasons)


def test_added_file_invalidates_receipt(project: Project) -> None:
    """A script that looks for a file behaves differently once the file exists."""
    text = "test ! -e notes.md || . scenarios/other.sh\n"
    project.path("scenarios/good.sh").write_text(text)
    project.run("gate", "task-a")
    first, second = project.receipts()
    first.unlink()
    assert verify(project)[0] == 0

    project.path("notes.md").write_text("")

    assert second.exists()
    assert "file notes.md was added" in verify(project)[1]


@pytest.mark.parametrize(
    "change",
    [
        replace_text("It never breaks.", "It hardly breaks."),
        replace_text('assertion = "It works."', "assertion='It works.'  # as ever"),
        flip_byte("scenarios/bad.sh"),
        lambda project: project.manifest.write_text(
            project.manifest.read_text() + GOOD.replace('"good"', '"better"')
        ),
    ],
    ids=["another entry", "layout", "another script", "a new scenario"],
)
def test_untested_change_keeps_receipt_valid(
    project: Project, change: Callable[[Project], object]
) -> None:
    """Manifest changes for other tasks do not affect this receipt."""
    change(project)

    assert verify(project)[0] == 0


def test_repository_change_is_reported_and_keeps_receipt_valid(project: Project) -> None:
    """The tested files are hashed, so the repository may change elsewhere."""
    project.path("README").write_text("new\n")

    code, output = verify(project)

    assert code == 0
    verdict, note = output.splitlines()
    assert verdict.endswith(": valid")
    assert note.startswith("  note: repository was")


def test_another_binary_can_be_compared(project: Project) -> None:
    """`--binary` compares a build elsewhere, by content rather than by name."""
    same, other = project.path("same"), project.path("other")
    same.write_bytes(project.binary.read_bytes())
    other.write_bytes(project.binary.read_bytes() + b"\n")

    assert verify(project, "--binary", str(same))[0] == 0
    code, output = verify(project, "--binary", str(other))
    assert code == 1
    assert "binary wg changed" in output


def test_another_work_tree_can_be_compared(project: Project, tmp_path: Path) -> None:
    """`--manifest` compares a copy elsewhere; names are relative to the manifest's directory."""
    copy = tmp_path / "copy"
    shutil.copytree(project.top, copy)
    project.manifest.unlink()
    options = ("--manifest", str(copy / "manifest.toml"))

    assert verify(project)[0] == 1
    assert verify(project, *options)[0] == 0
    (copy / "scenarios/lib.sh").write_text("")
    assert "file scenarios/lib.sh changed" in verify(project, *options)[1]


def test_subject_is_manifest_without_a_binary(project: Project) -> None:
    """A receipt always has a subject; then every byte of the manifest counts."""
    project.binary.unlink()
    project.run("gate", "task-a", ISOSMOKE_WG="", PATH="/usr/bin:/bin")
    project.receipts()[0].unlink()
    (file,) = project.receipts()
    assert json.loads(file.read_text())["subject"][0]["name"] == "manifest manifest.toml"
    assert verify(project)[0] == 0

    project.manifest.write_text(project.manifest.read_text() + "# more\n")

    assert "manifest manifest.toml changed" in verify(project)[1]
    assert "written without a binary" in verify(project, "--binary", str(project.manifest))[1]


def test_receipt_of_shut_gate_is_never_valid(project: Project) -> None:
    """A check before a release must not accept a failure."""
    project.receipts()[0].unlink()
    project.run("gate", "task-b")

    code, output = verify(project)

    assert code == 1
    assert "the gate was shut" in output


def test_every_gate_run_writes_one_receipt(project: Project) -> None:
    """An open and a shut gate each write one; a gate that ran nothing writes none."""
    for task in ("task-b", "task-c", "task-z"):
        project.run("gate", task)

    documents = [json.loads(file.read_text()) for file in project.receipts()]
    assert [document["predicate"]["result"] for document in documents] == [
        "PASSED",
        "FAILED",
        "FAILED",
    ]


def test_receipt_names_what_was_tested(project: Project) -> None:
    """The subject, the scripts and the commit are those of the project."""
    (file,) = project.receipts()
    then = receipt.parse(file.read_bytes(), str(file))

    loaded = load(project.manifest)
    inputs = receipt_inputs.collect_inputs(loaded, loaded.scenarios[:1], EngineChoice(AUTO))

    assert then.subject[0] == receipt_inputs.create_subject(
        (project.binary, input_copies.compute_digest(project.binary)), project.manifest
    )
    assert then.predicate.configuration[:-2] == inputs
    tree = subprocess.run(
        ["git", "-C", project.top, "rev-parse", "HEAD^{tree}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert then.predicate.configuration[-2] == in_toto.create_tree_resource(tree.stdout.strip())
    commit = Git(project.top)("rev-parse", "HEAD")
    assert then.circumstances.repository == Checkout(commit, dirty=False)


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff\x00", b"[" * 5000])
def test_unreadable_receipt_exits_2(project: Project, content: bytes | None) -> None:
    """A missing, empty or invalid receipt proves nothing about the tested files."""
    file = project.path("r.json")
    if content is not None:
        file.write_bytes(content)

    done = project.run("receipt", "verify", "r.json")

    assert done.returncode == 2
    assert "r.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_json_and_show_agree(project: Project) -> None:
    """`--json` prints one document, and `show` prints the names and hashes."""
    (file,) = project.receipts()
    flip_byte("scenarios/lib.sh")(project)

    document = json.loads(project.run("receipt", "verify", str(file), "--json").stdout)
    text = project.run("receipt", "show", str(file)).stdout

    assert (document["holds"], document["broken"]) == (False, ["file scenarios/lib.sh changed"])
    assert text.startswith("PASSED task-a at ")
    assert "  PASS good\n" in text
