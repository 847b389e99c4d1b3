"""The evidence collected from a sandbox: from prepared directories, and from real engines."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from isosmoke.results.evidence import Change, Evidence
from isosmoke.runner.evidence.collection import (
    MAX_FILE_TEXT,
    MAX_LISTED,
    MAX_TOTAL_TEXT,
    MAX_WG_TEXT,
    collect_changes,
)
from isosmoke.sandbox.spec import Fresh, SandboxSpec
from isosmoke.testing import Bench
from isosmoke.testing.bench import HOME, JobOptions, start_job
from support import available
from support.fixture_types import Ordinary

VAR_TMP = PurePosixPath("/var/tmp")  # noqa: S108 - in the sandbox


def _spec(*targets: PurePosixPath) -> SandboxSpec:
    return SandboxSpec(
        label="one",
        image="host",
        mounts=tuple(Fresh(target, 0o700, on_disk=True) for target in targets),
        uid=0,
        gid=0,
        network="host",
    )


def _collect(upper: Path, *, seconds: float = 60.0) -> Evidence:
    return collect_changes(_spec(HOME), {HOME: upper}, seconds=seconds)


def _list_texts(evidence: Evidence) -> dict[str, str | None]:
    return {
        str(PurePosixPath(change.path).relative_to(HOME)): change.text
        for change in evidence.changes
    }


def test_text_of_small_files_is_collected(tmp_path: Path) -> None:
    """The content of a small file and the target of a link are text, binary content is not."""
    (tmp_path / "small").write_text("Grüße\n")
    (tmp_path / "latin").write_bytes(b"Gr\xfc\xdfe\n")
    (tmp_path / "binary").write_bytes(b"ELF\0\1")
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to("/etc/shadow")
    os.mkfifo(tmp_path / "fifo")

    assert _list_texts(_collect(tmp_path)) == {
        "small": "Grüße\n",
        "latin": "Gr\udcfc\udcdfe\n",
        "binary": None,
        "empty": "",
        "link": "/etc/shadow",
        "fifo": None,
    }
    assert _collect(tmp_path).missing == ()


@pytest.mark.parametrize(
    ("name", "max_size"), [("out.txt", MAX_FILE_TEXT), (".wg/service/daemon.log", MAX_WG_TEXT)]
)
def test_long_text_is_limited_to_its_end(tmp_path: Path, name: str, max_size: int) -> None:
    """The text of a long file is its end from the start of a line, with the size before it."""
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    content = "".join(f"line {number}\n" for number in range(20_000))
    (tmp_path / name).write_text(content)
    change = next(change for change in _collect(tmp_path).changes if change.kind == "file")

    assert change.text is not None
    assert max_size - 20 < len(change.text) <= max_size
    assert change.text.startswith("line ")
    assert content.endswith(change.text)
    assert change.before + len(change.text) == change.size == len(content)


def test_line_is_never_truncated(tmp_path: Path) -> None:
    """A single long line has no text, as part of a secret would not be recognized."""
    (tmp_path / "line").write_text("x" * 100_000)
    (change,) = _collect(tmp_path).changes

    assert (change.text, change.size) == (None, 100_000)


def test_huge_sparse_file_is_not_read(tmp_path: Path) -> None:
    """A file of a terabyte is not read, but its size is reported."""
    with (tmp_path / "disk.img").open("wb") as file:
        file.truncate(1 << 40)
    (change,) = _collect(tmp_path).changes

    assert (change.size, change.text) == (1 << 40, None)


def test_many_changes_are_counted_and_relevant_ones_listed(tmp_path: Path) -> None:
    """Of thousands of files a few hundred are listed, those of wg first; all others are counted."""
    crowded = tmp_path / "a"
    crowded.mkdir()
    for number in range(5000):
        (crowded / str(number)).touch()
    (tmp_path / "project/.wg").mkdir(parents=True)
    (tmp_path / "project/.wg/graph.jsonl").write_text("{}\n")
    (tmp_path / "top").touch()
    evidence = _collect(tmp_path)

    assert len(evidence.changes) == MAX_LISTED
    assert evidence.changes_left_out == 5000 + 5 - MAX_LISTED
    assert _list_texts(evidence)["project/.wg/graph.jsonl"] == "{}\n"
    assert "top" in _list_texts(evidence)
    assert list(evidence.changes) == sorted(evidence.changes, key=lambda change: change.path)


def test_crowded_directory_does_not_displace_others(tmp_path: Path) -> None:
    """Hundreds of wg's files displace neither its service's state nor the user's files.

    `wg init` writes about seven hundred files below `.wg/agency`.
    """
    stock = tmp_path / "project/.wg/agency/primitives"
    for kind in ("components", "outcomes", "tradeoffs"):
        (stock / kind).mkdir(parents=True)
        for number in range(200):
            (stock / kind / f"{number}.yaml").touch()
    relevant = ["project/.wg/service/state.json", "project/deep/er/made", "project/other", "mine"]
    for path in relevant:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    evidence = _collect(tmp_path)

    assert _list_texts(evidence).keys() >= set(relevant)
    assert len(evidence.changes) == MAX_LISTED


def test_total_size_of_texts_is_limited(tmp_path: Path) -> None:
    """With too much text, wg's files and logs come first, and the missing texts are reported."""
    for number in range(100):
        (tmp_path / f"note-{number}").write_text("x" * MAX_FILE_TEXT)
    (tmp_path / "z/.wg").mkdir(parents=True)
    (tmp_path / "z/.wg/state").write_text("wg's")
    (tmp_path / "z/z.log").write_text("a log")
    evidence = _collect(tmp_path)
    texts = _list_texts(evidence)
    collected = [text for text in texts.values() if text]

    assert (texts["z/.wg/state"], texts["z/z.log"]) == ("wg's", "a log")
    assert MAX_TOTAL_TEXT - MAX_FILE_TEXT < sum(map(len, collected)) <= MAX_TOTAL_TEXT
    (complaint,) = evidence.missing
    missing = 102 - len(collected)
    assert complaint == f"the text of {missing} more: over {MAX_TOTAL_TEXT} bytes in total"


def test_collection_ends_at_deadline(tmp_path: Path) -> None:
    """The collection stops at its deadline, which is reported."""
    (tmp_path / "file").touch()
    evidence = _collect(tmp_path, seconds=-1.0)

    assert evidence.changes == ()
    assert evidence.missing == ("the rest: not collected within -1 s",)


def test_changes_not_on_disk_are_reported(tmp_path: Path) -> None:
    """A mount with changes in memory, or whose directory does not exist, is reported."""
    evidence = collect_changes(_spec(HOME, VAR_TMP), {HOME: tmp_path / "gone"}, seconds=60.0)

    assert evidence.missing == (
        f"{VAR_TMP}: its changes were not stored on disk",
        f"{HOME}: No such file or directory",
    )


_COLLECT = """
import sys
from pathlib import Path, PurePosixPath
from isosmoke.runner.evidence.collection import collect_changes
from isosmoke.sandbox.spec import Fresh, SandboxSpec
home = PurePosixPath("/home/contract")
spec = SandboxSpec(label="one", image="host", mounts=(Fresh(home, 0o700, on_disk=True),),
                   uid=0, gid=0, network="host")
evidence = collect_changes(spec, {home: Path(sys.argv[1])}, seconds=60)
print(len(evidence.changes), *evidence.missing, sep="\\n")
"""


def test_number_of_complaints_is_limited(tmp_path: Path, ordinary: Ordinary) -> None:
    """Thirty unreadable files are listed, but only some complaints about them."""
    for number in range(30):
        (tmp_path / str(number)).write_text("secret")
        (tmp_path / str(number)).chmod(0)
    count, *missing = ordinary(_COLLECT, tmp_path).splitlines()

    assert count == "30"
    assert len(missing) == 21
    assert missing[0].endswith(": Permission denied")
    assert missing[-1] == "and 10 more"


# On real engines.


def _list_changes_after(name: str, bench: Bench, line: str) -> dict[str, Change]:
    """Return the changes of a bash command in the workspace, `HOME` and temporary directories."""
    evidence = _collect_after(name, bench, line)
    return {change.path: change for change in evidence.changes}


def _collect_after(name: str, bench: Bench, line: str) -> Evidence:
    engine = available.require_engine(name)
    if "in memory" in engine.description:
        available.skip_engine(name, "no overlay on disk here")
    job = bench.shell(f"set -e; {line}", JobOptions(timeout=60))
    with engine.sandbox(job.spec) as sandbox:
        assert start_job(sandbox, job).wait_for_exit(60) == 0
        return collect_changes(job.spec, sandbox.changes, seconds=60)


def _describe(changes: Mapping[str, Change], below: Path | PurePosixPath) -> dict[str, str]:
    return {
        str(PurePosixPath(path).relative_to(below)): f"{change.change} {change.kind}"
        for path, change in changes.items()
        if PurePosixPath(path).is_relative_to(below)
    }


def _fill_workspace(workspace: Path) -> None:
    for path in ("kept/a", "kept/b", "moved/inner", "renewed/lost", "renewed/same", "gone/deep/x"):
        (workspace / path).parent.mkdir(parents=True, exist_ok=True)
        (workspace / path).write_text(f"{path}\n")


@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_changes_of_workspace_are_reported(name: str, tmp_path: Path) -> None:
    """Added, changed, removed and renamed files and directories are reported as such."""
    bench = Bench(tmp_path)
    _fill_workspace(bench.workspace)
    line = (
        "echo new >new; echo more >>file; rm kept/a; : >>kept/b; mv moved elsewhere; "
        "rm -r renewed; mkdir renewed; echo other >renewed/same; rm -r gone; mkdir -p made/deep"
    )
    changes = _list_changes_after(name, bench, line)
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

    if os.getuid() != 0 and name == "docker":  # only root can read the mark of an opaque directory
        del expected["renewed/lost"]
    assert _describe(changes, bench.workspace) == expected
    assert changes[f"{bench.workspace}/file"].text == "from the host\nmore\n"


@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_changes_outside_workspace_are_reported(name: str, tmp_path: Path) -> None:
    """HOME and temporary directories are included; no link is followed, and no fifo read."""
    bench = Bench(tmp_path)
    code = (
        "import os, socket\n"
        "socket.socket(socket.AF_UNIX).bind('/var/tmp/socket')\n"
        "os.mkfifo('/var/tmp/fifo')\n"
        "os.symlink('/etc/shadow', '/var/tmp/shadow')\n"
        "open('/var/tmp/two\\nlines', 'w').write('both')\n"
        "open(b'/var/tmp/no \\xff text', 'wb').write(bytes(range(256)))\n"
        "open('/var/tmp/closed', 'w').write('unreadable')\n"
        "os.chmod('/var/tmp/closed', 0)\n"
        f"open('{HOME}/.rc', 'w').write('set')\n"
    )
    evidence = _collect_after(name, bench, f"python3 -c {shlex.quote(code)}")
    changes = {change.path: change for change in evidence.changes}

    closed = "unreadable" if os.getuid() == 0 else None
    assert {path: (change.kind, change.text) for path, change in changes.items()} == {
        f"{VAR_TMP}/socket": ("socket", None),
        f"{VAR_TMP}/fifo": ("fifo", None),
        f"{VAR_TMP}/shadow": ("link", "/etc/shadow"),
        f"{VAR_TMP}/two\nlines": ("file", "both"),
        f"{VAR_TMP}/no \udcff text": ("file", None),
        f"{VAR_TMP}/closed": ("file", closed),
        f"{HOME}/.rc": ("file", "set"),
    }
    assert evidence.missing == (() if closed else (f"{VAR_TMP}/closed: Permission denied",))


@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_workspace_in_home_is_reported_once(name: str, tmp_path: Path) -> None:
    """Mount points are not changes of the scenario, on any engine."""
    bench = Bench(tmp_path)
    job = bench.shell("echo new >new")
    home = Fresh(PurePosixPath(bench.folder.parent), 0o700, on_disk=True)
    job = replace(job, spec=replace(job.spec, mounts=(home, *job.spec.mounts)))
    engine = available.require_engine(name)
    with engine.sandbox(job.spec) as sandbox:
        assert start_job(sandbox, job).wait_for_exit(60) == 0
        changes = collect_changes(job.spec, sandbox.changes, seconds=60).changes

    assert [change.path for change in changes] == [f"{bench.workspace}/new"]


@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_git_directory_is_one_change(name: str, tmp_path: Path) -> None:
    """Changes of git in its own directory are summarized, next to those of other files."""
    bench = Bench(tmp_path)
    identity = "-c user.name=a -c user.email=a@b.c -c safe.directory=*"
    changes = _list_changes_after(
        name, bench, f"git init -q .; git add .; git {identity} commit -qm one"
    )

    git = changes[f"{bench.workspace}/.git"]
    assert _describe(changes, bench.workspace) == {".git": "added folder"}
    assert git.within > 10
    assert git.size > 100


@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_twenty_thousand_files_are_counted(name: str, tmp_path: Path) -> None:
    """Evidence of a scenario with very many files is collected."""
    code = "for number in range(20000): open(f'/var/tmp/{number}', 'w')"
    evidence = _collect_after(name, Bench(tmp_path), f"python3 -c {shlex.quote(code)}")

    assert len(evidence.changes) + evidence.changes_left_out == 20_000
    assert evidence.missing == ()


@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_ordinary_user_has_same_result(name: str) -> None:
    """The tests also pass for an ordinary user."""
    user = available.ordinary_user()
    user.require_engine(name)
    done = user.pytest(__file__, "-k", f"{name} and not ordinary and not thousand")
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
