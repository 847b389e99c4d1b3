"""A receipt holds as long as every tested byte is there, and names whatever is not."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.engines import AUTO, EngineChoice
from isosmoke.errors import UsageError
from isosmoke.gate import receipt, receipt_inputs
from isosmoke.gate.receipt import Circumstances, Statement
from isosmoke.host.git import Checkout
from isosmoke.manifest.loader import load
from isosmoke.manifest.parser import parse
from isosmoke.results.outcome import Outcome
from support import available
from support.git_repositories import Git
from support.project import GOOD, Project

HASH = "ab" * 32


def statement(
    outcomes: dict[str, Outcome], *, opened: bool = True, checkout: Checkout | None = None
) -> Statement:
    """A receipt of these outcomes."""
    about = Circumstances(
        task="fix-a",
        open=opened,
        tested_at="2026-11-22T20:00:00.000Z",
        manifest="/p/manifest.toml",
        binary="/p/wg",
        repository=checkout,
        outcomes=outcomes,
        engine="bubblewrap",
    )
    inputs = (receipt.hashed("script", "a.sh", HASH), receipt.named("image", "debian:12"))
    return receipt.statement(about, receipt.hashed("binary", "wg", HASH), inputs)


def test_a_receipt_is_an_in_toto_test_result() -> None:
    """Every field that the specification requires has its name, and our own are apart."""
    outcomes = {"a": Outcome.PASS, "b": Outcome.SKIP, "c": Outcome.FLAKY, "d": Outcome.LEAK}

    document = json.loads(
        receipt.render(statement(outcomes, opened=False, checkout=Checkout("c0ffee", dirty=True)))
    )

    assert document == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "binary wg", "digest": {"sha256": HASH}}],
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {
            "result": "FAILED",
            "configuration": [
                {"name": "script a.sh", "digest": {"sha256": HASH}},
                {"name": "image debian:12", "uri": "isosmoke:image/debian:12"},
                {"name": "engine bubblewrap", "uri": "isosmoke:engine/bubblewrap"},
            ],
            "passedTests": ["a"],
            "warnedTests": ["b", "c"],
            "failedTests": ["d"],
            "isosmoke": {
                "task": "fix-a",
                "open": False,
                "testedAt": "2026-11-22T20:00:00.000Z",
                "manifest": "/p/manifest.toml",
                "binary": "/p/wg",
                "repository": {"commit": "c0ffee", "dirty": True},
                "outcomes": {"a": "PASS", "b": "SKIP", "c": "FLAKY", "d": "LEAK"},
                "engine": "bubblewrap",
                "version": document["predicate"]["isosmoke"]["version"],
            },
        },
    }


@pytest.mark.parametrize(
    ("outcome", "opened", "result"),
    [
        (Outcome.PASS, True, "PASSED"),
        (Outcome.SKIP, True, "WARNED"),
        (Outcome.FLAKY, True, "WARNED"),
        (Outcome.SKIP, False, "FAILED"),
        (Outcome.PASS, False, "FAILED"),
        (Outcome.FAIL, False, "FAILED"),
    ],
)
def test_result_follows_the_gate(outcome: Outcome, opened: bool, result: str) -> None:  # noqa: FBT001
    """A shut gate FAILED, whatever its scenarios did; an open one PASSED only if all did."""
    assert statement({"a": outcome}, opened=opened).predicate.result == result


@given(st.dictionaries(st.text(), st.sampled_from(Outcome)), st.booleans(), st.booleans())
def test_what_is_written_is_what_is_read(
    outcomes: dict[str, Outcome],
    opened: bool,  # noqa: FBT001
    clean: bool,  # noqa: FBT001
) -> None:
    """Rendering and parsing lose nothing."""
    written = statement(outcomes, opened=opened, checkout=Checkout("", clean) if clean else None)

    assert receipt.parse(receipt.render(written), "r") == written


def test_unknown_fields_are_ignored() -> None:
    """A later version may add some (in-toto's parsing rules)."""
    document = json.loads(receipt.render(statement({})))
    document["predicate"]["url"] = "https://localhost"

    assert receipt.parse(json.dumps(document), "r") == statement({})


@given(st.binary())
def test_what_is_no_receipt_is_refused_by_name(content: bytes) -> None:
    """Any bytes give an error in words that names the file, and nothing else."""
    with pytest.raises(UsageError, match=r"^r\.json: not a receipt: "):
        receipt.parse(content, "r.json")


NAMES = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["0" * 64, "1" * 64]))


@given(NAMES, NAMES)
def test_differences_name_exactly_what_differs(then: dict[str, str], now: dict[str, str]) -> None:
    """Each name that changed, went or came is told once, and no other."""
    told = receipt.differences(
        [receipt.hashed("file", *one) for one in then.items()],
        [receipt.hashed("file", *one) for one in now.items()],
    )

    differing = {name for name in then | now if then.get(name) != now.get(name)}
    assert sorted(line.split()[1] for line in told) == sorted(differing)


def test_an_entry_is_bound_by_its_meaning(tmp_path: Path) -> None:
    """A comment or the order of keys changes nothing; any value does."""

    def entry(text: str) -> str:
        (tmp_path / "s.sh").write_text("")
        (one,) = (loaded := parse(text, tmp_path / "m.toml")).scenarios
        return receipt_inputs.inputs(loaded, [one], EngineChoice(AUTO))[0].sha256

    plain = '[[scenario]]\nname = "a"\nscript = "s.sh"\n'
    assert entry('[[scenario]]\nscript = "s.sh" # here\nname = "a"\n') == entry(plain)
    assert entry(plain + "timeout_seconds = 180\n") == entry(plain)
    assert entry(plain + "timeout_seconds = 181\n") != entry(plain)
    assert entry("[defaults]\nretries = 1\n" + plain) != entry(plain)


# From here on real receipts, of real runs.


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that is a repository; `task-a` has been through the gate. Not to be changed."""
    available.engine("bubblewrap")
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
    """That project, for one test; a receipt names places, so it is always at the same one."""
    shutil.copytree(gated.top.parent / "untouched", gated.top)
    yield gated
    shutil.rmtree(gated.top)


def verified(project: Project, *words: str) -> tuple[int, str]:
    """The exit code and the words of `receipt verify` for the project's receipt."""
    (file,) = project.receipts()
    done = project.run("receipt", "verify", str(file), *words)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def a_byte(name: str) -> Callable[[Project], object]:
    """Change the last byte of a file, which is not its line feed."""

    def change(project: Project) -> None:
        content = project.path(name).read_bytes().rstrip(b"\n")
        project.path(name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]) + b"\n")

    return change


def an_entry(before: str, after: str) -> Callable[[Project], object]:
    """Change the manifest's text."""
    return lambda project: project.manifest.write_text(
        project.manifest.read_text().replace(before, after)
    )


CHANGES = {
    "the binary": (a_byte("wg"), "binary wg changed"),
    "the script": (a_byte("scenarios/good.sh"), "script scenarios/good.sh changed"),
    "what it sources": (a_byte("scenarios/lib.sh"), "file scenarios/lib.sh changed"),
    "what that sources": (a_byte("scenarios/more.sh"), "file scenarios/more.sh changed"),
    "what that names": (a_byte("scenarios/notes.txt"), "file scenarios/notes.txt changed"),
    "its entry": (an_entry("It works.", "It work."), "scenario good changed"),
    "its owners": (an_entry('["task-a"]', '["task-a", "b"]'), "scenario good changed"),
    "a default": (an_entry(GOOD, "[defaults]\nretries = 1\n" + GOOD), "scenario good changed"),
    "the policy": (an_entry(GOOD, "[gate]\nmax_skips = 0\n" + GOOD), "policy [gate] changed"),
    "its name": (an_entry('"good"', '"best"'), "scenario good is gone"),
    "no binary": (lambda project: project.binary.unlink(), "binary wg is gone"),
    "no script": (lambda project: project.path("scenarios/good.sh").unlink(), "good.sh"),
    "no library": (
        lambda project: project.path("scenarios/lib.sh").unlink(),
        "file scenarios/lib.sh is gone",
    ),
    "no manifest": (lambda project: project.manifest.unlink(), "manifest.toml: no such file"),
}


@pytest.mark.parametrize(("change", "words"), CHANGES.values(), ids=CHANGES)
def test_whatever_changed_is_found_and_named(
    project: Project, change: Callable[[Project], object], words: str
) -> None:
    """Before the change the receipt holds; after it, it does not, and below that says why."""
    assert verified(project)[0] == 0

    change(project)

    code, said = verified(project)
    assert code == 1
    verdict, *why = said.splitlines()
    assert verdict.endswith(": does not hold")
    assert words in "\n".join(why)


def test_a_file_that_appears_is_found(project: Project) -> None:
    """A script that looks for a file reads another thing once it is there."""
    text = "test ! -e notes.md || . scenarios/other.sh\n"
    project.path("scenarios/good.sh").write_text(text)
    project.run("gate", "task-a")
    first, second = project.receipts()
    first.unlink()
    assert verified(project)[0] == 0

    project.path("notes.md").write_text("")

    assert second.exists()
    assert "file notes.md is new" in verified(project)[1]


@pytest.mark.parametrize(
    "change",
    [
        an_entry("It never breaks.", "It hardly breaks."),
        an_entry('assertion = "It works."', "assertion='It works.'  # as ever"),
        a_byte("scenarios/bad.sh"),
        lambda project: project.manifest.write_text(
            project.manifest.read_text() + GOOD.replace('"good"', '"better"')
        ),
    ],
    ids=["another entry", "layout", "another script", "a new scenario"],
)
def test_what_was_not_tested_breaks_nothing(
    project: Project, change: Callable[[Project], object]
) -> None:
    """A manifest grows: what other tasks do to it is not this receipt's business."""
    change(project)

    assert verified(project)[0] == 0


def test_a_commit_or_a_change_elsewhere_is_told_and_breaks_nothing(project: Project) -> None:
    """What was tested is hashed, so the repository may go on."""
    project.path("README").write_text("new\n")

    code, said = verified(project)

    assert code == 0
    verdict, note = said.splitlines()
    assert verdict.endswith(": holds")
    assert note.startswith("  note: repository was")


def test_another_binary_may_be_compared(project: Project) -> None:
    """`--binary` asks about a build elsewhere, by content and not by name."""
    same, other = project.path("same"), project.path("other")
    same.write_bytes(project.binary.read_bytes())
    other.write_bytes(project.binary.read_bytes() + b"\n")

    assert verified(project, "--binary", str(same))[0] == 0
    code, said = verified(project, "--binary", str(other))
    assert code == 1
    assert "binary wg changed" in said


def test_another_work_tree_may_be_compared(project: Project, tmp_path: Path) -> None:
    """`--manifest` asks about a copy elsewhere: names are relative to the manifest's folder."""
    copy = tmp_path / "copy"
    shutil.copytree(project.top, copy)
    project.manifest.unlink()
    words = ("--manifest", str(copy / "manifest.toml"))

    assert verified(project)[0] == 1
    assert verified(project, *words)[0] == 0
    (copy / "scenarios/lib.sh").write_text("")
    assert "file scenarios/lib.sh changed" in verified(project, *words)[1]


def test_without_a_binary_the_subject_is_the_manifest(project: Project) -> None:
    """There is always a subject; then every byte of the manifest counts."""
    project.binary.unlink()
    project.run("gate", "task-a", ISOSMOKE_WG="", PATH="/usr/bin:/bin")
    project.receipts()[0].unlink()
    (file,) = project.receipts()
    assert json.loads(file.read_text())["subject"][0]["name"] == "manifest manifest.toml"
    assert verified(project)[0] == 0

    project.manifest.write_text(project.manifest.read_text() + "# more\n")

    assert "manifest manifest.toml changed" in verified(project)[1]
    assert "made without one" in verified(project, "--binary", str(project.manifest))[1]


def test_a_receipt_of_a_shut_gate_never_holds(project: Project) -> None:
    """Whoever asks before a release must not be told yes about a failure."""
    project.receipts()[0].unlink()
    project.run("gate", "task-b")

    code, said = verified(project)

    assert code == 1
    assert "the gate was shut" in said


def test_every_gate_that_ran_leaves_one_receipt(project: Project) -> None:
    """Open or shut; what did not run has nothing to attest."""
    for task in ("task-b", "task-c", "task-z"):
        project.run("gate", task)

    documents = [json.loads(file.read_text()) for file in project.receipts()]
    assert [one["predicate"]["result"] for one in documents] == ["PASSED", "FAILED", "WARNED"]


def test_the_hash_of_the_binary_is_that_of_what_ran(project: Project) -> None:
    """The subject, each script and the repository's commit are those of the project."""
    (file,) = project.receipts()
    then = receipt.parse(file.read_bytes(), str(file))

    loaded = load(project.manifest)
    inputs = receipt_inputs.inputs(loaded, loaded.scenarios[:1], EngineChoice(AUTO))

    assert then.subject[0] == receipt_inputs.subject(
        (project.binary, receipt_inputs.digest(project.binary)), project.manifest
    )
    assert then.predicate.configuration[:-1] == inputs
    commit = Git(project.top)("rev-parse", "HEAD")
    assert then.circumstances.repository == Checkout(commit, dirty=False)


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff\x00", b"[" * 5000])
def test_an_unreadable_receipt_exits_2(project: Project, content: bytes | None) -> None:
    """Missing, empty, or no receipt at all: that is no answer about the tested things."""
    file = project.path("r.json")
    if content is not None:
        file.write_bytes(content)

    done = project.run("receipt", "verify", "r.json")

    assert done.returncode == 2
    assert "r.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_json_and_show_tell_the_same(project: Project) -> None:
    """A machine gets one document, a reader the names and hashes."""
    (file,) = project.receipts()
    a_byte("scenarios/lib.sh")(project)

    told = json.loads(project.run("receipt", "verify", str(file), "--json").stdout)
    shown = project.run("receipt", "show", str(file)).stdout

    assert (told["holds"], told["broken"]) == (False, ["file scenarios/lib.sh changed"])
    assert shown.startswith("PASSED task-a at ")
    assert "  PASS good\n" in shown
