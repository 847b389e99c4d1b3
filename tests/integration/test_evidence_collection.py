"""What is collected of a sandbox: from folders filled by hand, and from real engines."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from isosmoke.results.evidence import Change, Evidence
from isosmoke.runner.evidence_collection import (
    MAX_LISTED,
    TEXT_IN_ALL,
    TEXT_OF_A_FILE,
    TEXT_OF_WG,
    collect_changes,
)
from isosmoke.sandbox.spec import Fresh, SandboxSpec
from isosmoke.testing import Bench
from isosmoke.testing.bench import HOME, Terms, started
from support import available
from support.fixture_types import Ordinary

VAR_TMP = PurePosixPath("/var/tmp")  # noqa: S108 - in the sandbox


def _spec(*targets: PurePosixPath) -> SandboxSpec:
    return SandboxSpec(
        label="one",
        image="host",
        mounts=tuple(Fresh(one, 0o700, on_disk=True) for one in targets),
        uid=0,
        gid=0,
        network="host",
    )


def _of(upper: Path, *, seconds: float = 60.0) -> Evidence:
    return collect_changes(_spec(HOME), {HOME: upper}, seconds=seconds)


def _texts(evidence: Evidence) -> dict[str, str | None]:
    return {str(PurePosixPath(one.path).relative_to(HOME)): one.text for one in evidence.changes}


def test_text_of_small_files_is_kept(tmp_path: Path) -> None:
    """What a small file holds and where a link points is text, what is binary or empty is not."""
    (tmp_path / "small").write_text("Grüße\n")
    (tmp_path / "latin").write_bytes(b"Gr\xfc\xdfe\n")
    (tmp_path / "binary").write_bytes(b"ELF\0\1")
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to("/etc/shadow")
    os.mkfifo(tmp_path / "fifo")

    assert _texts(_of(tmp_path)) == {
        "small": "Grüße\n",
        "latin": "Gr\udcfc\udcdfe\n",
        "binary": None,
        "empty": "",
        "link": "/etc/shadow",
        "fifo": None,
    }
    assert _of(tmp_path).missing == ()


@pytest.mark.parametrize(
    ("name", "most"), [("out.txt", TEXT_OF_A_FILE), (".wg/service/daemon.log", TEXT_OF_WG)]
)
def test_long_text_is_its_end(tmp_path: Path, name: str, most: int) -> None:
    """Of a long file the end is kept, from the beginning of a line, and how much comes before."""
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    content = "".join(f"line {number}\n" for number in range(20_000))
    (tmp_path / name).write_text(content)
    found = next(one for one in _of(tmp_path).changes if one.kind == "file")

    assert found.text is not None
    assert most - 20 < len(found.text) <= most
    assert found.text.startswith("line ")
    assert content.endswith(found.text)
    assert found.before + len(found.text) == found.size == len(content)


def test_line_is_never_cut(tmp_path: Path) -> None:
    """Of one long line nothing is kept: a part of a secret would not be known as one."""
    (tmp_path / "line").write_text("x" * 100_000)
    (found,) = _of(tmp_path).changes

    assert (found.text, found.size) == (None, 100_000)


def test_huge_sparse_file_is_not_read(tmp_path: Path) -> None:
    """A file of a terabyte costs nothing; its size is told."""
    with (tmp_path / "disk.img").open("wb") as file:
        file.truncate(1 << 40)
    (found,) = _of(tmp_path).changes

    assert (found.size, found.text) == (1 << 40, None)


def test_many_changes_are_counted_and_the_telling_ones_kept(tmp_path: Path) -> None:
    """Of thousands of files a few hundred are listed, wg's own first; the others are counted."""
    junk = tmp_path / "a"
    junk.mkdir()
    for number in range(5000):
        (junk / str(number)).touch()
    (tmp_path / "project/.wg").mkdir(parents=True)
    (tmp_path / "project/.wg/graph.jsonl").write_text("{}\n")
    (tmp_path / "top").touch()
    evidence = _of(tmp_path)

    assert len(evidence.changes) == MAX_LISTED
    assert evidence.changes_left_out == 5000 + 5 - MAX_LISTED
    assert _texts(evidence)["project/.wg/graph.jsonl"] == "{}\n"
    assert "top" in _texts(evidence)
    assert list(evidence.changes) == sorted(evidence.changes, key=lambda one: one.path)


def test_no_folder_crowds_out_the_others(tmp_path: Path) -> None:
    """What wg brings along by the hundred hides neither its service's state nor what is the user's.

    `wg init` writes some seven hundred files below `.wg/agency`.
    """
    stock = tmp_path / "project/.wg/agency/primitives"
    for kind in ("components", "outcomes", "tradeoffs"):
        (stock / kind).mkdir(parents=True)
        for number in range(200):
            (stock / kind / f"{number}.yaml").touch()
    telling = ["project/.wg/service/state.json", "project/deep/er/made", "project/other", "mine"]
    for one in telling:
        (tmp_path / one).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / one).touch()
    evidence = _of(tmp_path)

    assert _texts(evidence).keys() >= set(telling)
    assert len(evidence.changes) == MAX_LISTED


def test_texts_have_an_end_in_all(tmp_path: Path) -> None:
    """When there is too much text, wg's own and logs come first, and it is said what is missing."""
    for number in range(100):
        (tmp_path / f"note-{number}").write_text("x" * TEXT_OF_A_FILE)
    (tmp_path / "z/.wg").mkdir(parents=True)
    (tmp_path / "z/.wg/state").write_text("wg's")
    (tmp_path / "z/z.log").write_text("a log")
    evidence = _of(tmp_path)
    texts = _texts(evidence)
    kept = [one for one in texts.values() if one]

    assert (texts["z/.wg/state"], texts["z/z.log"]) == ("wg's", "a log")
    assert TEXT_IN_ALL - TEXT_OF_A_FILE < sum(map(len, kept)) <= TEXT_IN_ALL
    (told,) = evidence.missing
    assert told == f"the text of {102 - len(kept)} more: over {TEXT_IN_ALL} bytes in all"


def test_late_collection_is_said(tmp_path: Path) -> None:
    """When the time is over it says so, and does not go on."""
    (tmp_path / "file").touch()
    evidence = _of(tmp_path, seconds=-1.0)

    assert evidence.changes == ()
    assert evidence.missing == ("the rest: there was no time for it within -1 s",)


def test_what_is_not_on_disk_is_said(tmp_path: Path) -> None:
    """A mount whose changes were in memory, or whose folder is gone, is named."""
    evidence = collect_changes(_spec(HOME, VAR_TMP), {HOME: tmp_path / "gone"}, seconds=60.0)

    assert evidence.missing == (
        f"{VAR_TMP}: what changed in it was not kept on disk",
        f"{HOME}: No such file or directory",
    )


_MANY_CLOSED = """
import sys
from pathlib import Path, PurePosixPath
from isosmoke.runner.evidence_collection import collect_changes
from isosmoke.sandbox.spec import Fresh, SandboxSpec
home = PurePosixPath("/home/contract")
spec = SandboxSpec(label="one", image="host", mounts=(Fresh(home, 0o700, on_disk=True),),
                   uid=0, gid=0, network="host")
evidence = collect_changes(spec, {home: Path(sys.argv[1])}, seconds=60)
print(len(evidence.changes), *evidence.missing, sep="\\n")
"""


def test_complaints_are_few(tmp_path: Path, ordinary: Ordinary) -> None:
    """Thirty files that nobody may read are listed; why they have no text is said a few times."""
    for number in range(30):
        (tmp_path / str(number)).write_text("secret")
        (tmp_path / str(number)).chmod(0)
    count, *missing = ordinary(_MANY_CLOSED, tmp_path).splitlines()

    assert count == "30"
    assert len(missing) == 21
    assert missing[0].endswith(": Permission denied")
    assert missing[-1] == "and 10 more"


# On real engines.


def _after(name: str, bench: Bench, line: str) -> dict[str, Change]:
    """What a line of bash changed in the workspace, `HOME` and the temporary folders, by path."""
    evidence = _evidence_after(name, bench, line)
    return {one.path: one for one in evidence.changes}


def _evidence_after(name: str, bench: Bench, line: str) -> Evidence:
    engine = available.engine(name)
    if "in memory" in engine.description:
        available.cannot(name, "no overlay on disk here")
    job = bench.shell(f"set -e; {line}", Terms(timeout=60))
    with engine.sandbox(job.spec) as sandbox:
        assert started(sandbox, job).exited(60) == 0
        return collect_changes(job.spec, sandbox.changes, seconds=60)


def _words(changes: Mapping[str, Change], below: Path | PurePosixPath) -> dict[str, str]:
    return {
        str(PurePosixPath(path).relative_to(below)): f"{one.change} {one.kind}"
        for path, one in changes.items()
        if PurePosixPath(path).is_relative_to(below)
    }


def _fill(workspace: Path) -> None:
    for one in ("kept/a", "kept/b", "moved/inner", "renewed/lost", "renewed/same", "gone/deep/x"):
        (workspace / one).parent.mkdir(parents=True, exist_ok=True)
        (workspace / one).write_text(f"{one}\n")


@pytest.mark.parametrize("name", available.NAMES)
def test_changes_of_a_workspace(name: str, tmp_path: Path) -> None:
    """Added, changed, removed and renamed files and folders are each told for what they are."""
    bench = Bench(tmp_path)
    _fill(bench.workspace)
    line = (
        "echo new >new; echo more >>file; rm kept/a; : >>kept/b; mv moved elsewhere; "
        "rm -r renewed; mkdir renewed; echo other >renewed/same; rm -r gone; mkdir -p made/deep"
    )
    changes = _after(name, bench, line)
    expected = {
        "new": "added file",
        "file": "changed file",
        "kept/a": "removed file",
        "moved": "removed folder",
        "elsewhere": "added folder",
        "elsewhere/inner": "added file",
        "renewed/lost": "removed file",
        "renewed/same": "changed file",
        "gone": "removed folder",
        "made": "added folder",
        "made/deep": "added folder",
    }

    if os.getuid() != 0 and name == "docker":  # the mark of an opaque folder is root's to read
        del expected["renewed/lost"]
    assert _words(changes, bench.workspace) == expected
    assert changes[f"{bench.workspace}/file"].text == "from the host\nmore\n"


@pytest.mark.parametrize("name", available.NAMES)
def test_changes_elsewhere_and_of_every_kind(name: str, tmp_path: Path) -> None:
    """HOME and the temporary folders are looked at too; a link is not followed, a fifo not read."""
    bench = Bench(tmp_path)
    code = (
        "import os, socket\n"
        "socket.socket(socket.AF_UNIX).bind('/var/tmp/socket')\n"
        "os.mkfifo('/var/tmp/fifo')\n"
        "os.symlink('/etc/shadow', '/var/tmp/shadow')\n"
        "open('/var/tmp/two\\nlines', 'w').write('both')\n"
        "open(b'/var/tmp/no \\xff text', 'wb').write(bytes(range(256)))\n"
        "open('/var/tmp/closed', 'w').write('nobody may read this')\n"
        "os.chmod('/var/tmp/closed', 0)\n"
        f"open('{HOME}/.rc', 'w').write('set')\n"
    )
    evidence = _evidence_after(name, bench, f"python3 -c {shlex.quote(code)}")
    changes = {one.path: one for one in evidence.changes}

    closed = "nobody may read this" if os.getuid() == 0 else None
    assert {path: (one.kind, one.text) for path, one in changes.items()} == {
        f"{VAR_TMP}/socket": ("socket", None),
        f"{VAR_TMP}/fifo": ("fifo", None),
        f"{VAR_TMP}/shadow": ("link", "/etc/shadow"),
        f"{VAR_TMP}/two\nlines": ("file", "both"),
        f"{VAR_TMP}/no \udcff text": ("file", None),
        f"{VAR_TMP}/closed": ("file", closed),
        f"{HOME}/.rc": ("file", "set"),
    }
    assert evidence.missing == (() if closed else (f"{VAR_TMP}/closed: Permission denied",))


@pytest.mark.parametrize("name", available.NAMES)
def test_workspace_inside_home_is_told_once(name: str, tmp_path: Path) -> None:
    """The points of mounts are no work of the scenario's, on any engine."""
    bench = Bench(tmp_path)
    job = bench.shell("echo new >new")
    home = Fresh(PurePosixPath(bench.folder.parent), 0o700, on_disk=True)
    job = replace(job, spec=replace(job.spec, mounts=(home, *job.spec.mounts)))
    engine = available.engine(name)
    with engine.sandbox(job.spec) as sandbox:
        assert started(sandbox, job).exited(60) == 0
        found = collect_changes(job.spec, sandbox.changes, seconds=60).changes

    assert [one.path for one in found] == [f"{bench.workspace}/new"]


@pytest.mark.parametrize("name", available.NAMES)
def test_commit_is_one_change(name: str, tmp_path: Path) -> None:
    """What git does in its own folder is summed up beside what it did to the files."""
    bench = Bench(tmp_path)
    identity = "-c user.name=a -c user.email=a@b.c -c safe.directory=*"
    changes = _after(name, bench, f"git init -q .; git add .; git {identity} commit -qm one")

    git = changes[f"{bench.workspace}/.git"]
    assert _words(changes, bench.workspace) == {".git": "added folder"}
    assert git.within > 10
    assert git.size > 100


@pytest.mark.parametrize("name", available.NAMES)
def test_twenty_thousand_files_are_counted(name: str, tmp_path: Path) -> None:
    """A scenario that makes very many files does not keep its evidence from being collected."""
    code = "for one in range(20000): open(f'/var/tmp/{one}', 'w')"
    evidence = _evidence_after(name, Bench(tmp_path), f"python3 -c {shlex.quote(code)}")

    assert len(evidence.changes) + evidence.changes_left_out == 20_000
    assert evidence.missing == ()


@pytest.mark.parametrize("name", available.NAMES)
def test_an_ordinary_user_collects_the_same(name: str) -> None:
    """What holds for root holds for somebody without any privilege."""
    user = available.somebody()
    user.must_have(name)
    done = user.pytest(__file__, "-k", f"{name} and not ordinary and not thousand")
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
