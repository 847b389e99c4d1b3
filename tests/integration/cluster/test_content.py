"""A worker has the content that an order names: by digest, verified, within a limit of size."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support import clusters
from support.clusters import ClusterSite

LISTS = """
git status --porcelain
git log --format=%s
cat changed new run.txt
pwd
ls ignored .isosmoke
"""


def git(site: ClusterSite, *arguments: str) -> None:
    """Run git in the project, with its own identity."""
    own = ("-c", "user.name=u", "-c", "user.email=u@localhost")
    subprocess.run(["git", *own, *arguments], cwd=site.top, check=True, stdout=subprocess.DEVNULL)


def list_blobs(site: ClusterSite) -> list[Path]:
    """Return the blobs in the caches of the workers."""
    return sorted(site.state.glob("cluster-cache/*/blobs/*"))


def test_workspace_is_that_of_the_client(tmp_path: Path) -> None:
    """A worker shows the commit, changes and new files at the client's path, but nothing ignored.

    Changes that a scenario makes stay in its sandbox.
    """
    scripts = {"one": LISTS + "echo x >new\n", "two": "cat new\n"}
    with clusters.running(tmp_path, scripts, workers=1) as site:
        (site.top / ".gitignore").write_text("ignored\n")
        (site.top / "changed").write_text("committed\n")
        (site.top / "run.txt").symlink_to("changed")
        git(site, "init", "-q")
        git(site, "add", ".")
        git(site, "commit", "-q", "-m", "the commit")
        (site.top / "changed").write_text("changed\n")
        (site.top / "new").write_text("new\n")
        (site.top / "ignored").write_text("ignored\n")
        hidden = site.top.with_name("hidden")
        _, record, errors = site.run("--jobs", "1")
        assert not hidden.exists()
        assert (site.top / "new").read_text() == "new\n"

    first, second = record["scenarios"]
    lines = first["output"]["last_lines"]
    assert lines[:2] == [" M changed", "?? new"], errors
    assert lines[2:7] == ["the commit", "changed", "new", "changed", str(site.top)]
    assert any("ignored" in line and "No such file" in line for line in lines[7:])
    assert second["output"]["last_lines"] == ["new"]


def test_plain_files_are_those_of_the_client(tmp_path: Path) -> None:
    """Open files outside of the workspace are sent as they are, also those that git ignores."""
    look = 'cat "$HOME/.tool/data"; stat -c %a "$HOME/.tool/data"; ls -A "$HOME/.tool"\n'
    source = 'grep "/.tool " /proc/self/mountinfo | grep -c cluster-cache\n'
    keys = 'plain_files = ["~/.tool"]'
    with clusters.running(tmp_path, {"one": f"set -e\n{look}{source}"}, 1, one=keys) as site:
        tool = tmp_path / "home/.tool"
        tool.mkdir()
        (tool / "data").write_text("the data\n")
        (tool / "data").chmod(0o640)
        (tool / ".gitignore").write_text("*\n")
        git(site, "init", "-q", str(tool))
        shutil.rmtree(tool / ".git/hooks")
        code, record, errors = site.run()

    (scenario,) = record["scenarios"]
    assert (code, scenario["outcome"]) == (0, "PASS"), errors
    assert scenario["output"]["last_lines"] == [
        "the data",
        "640",
        ".git",
        ".gitignore",
        "data",
        "1",
    ]


def test_script_of_the_client_is_what_ran(tmp_path: Path) -> None:
    """The record names the hash of the client's script, and a changed script runs as changed."""
    with clusters.running(tmp_path, {"one": "echo first\n"}, workers=1) as site:
        _, before, _ = site.run()
        (site.top / "one.sh").write_text("echo second\n")
        _, after, _ = site.run()

    attempts = [record["scenarios"][0]["attempts"][0] for record in (before, after)]
    assert [item["output"]["last_lines"] for item in attempts] == [["first"], ["second"]]
    assert attempts[0]["script_sha256"] != attempts[1]["script_sha256"]


@pytest.mark.parametrize("damage", ["truncated", "changed", "tree"])
def test_corrupt_content_is_sent_again(damage: str, tmp_path: Path) -> None:
    """A worker that finds another content than the digest names receives it again."""
    with clusters.running(tmp_path, {"one": "cat data\n"}) as site:
        (site.top / "data").write_text("the data\n")
        site.start_worker()
        site.run()
        site.workers[0].kill()
        site.workers[0].wait()
        for blob in list_blobs(site):
            content = blob.read_bytes()
            blob.write_bytes(content[:-1] if damage == "truncated" else b"x" + content)
        trees = list(site.state.glob("cluster-cache/*/trees/*"))
        assert trees
        for tree in trees:
            if damage == "tree":
                (tree / "root/data").write_text("other data\n")
            else:
                shutil.rmtree(tree)
        site.start_worker()
        code, record, errors = site.run()

    (scenario,) = record["scenarios"]
    assert (code, scenario["outcome"]) == (0, "PASS"), errors
    assert scenario["output"]["last_lines"] == ["the data"]


def test_worker_without_room_is_skipped(tmp_path: Path) -> None:
    """A worker that cannot keep the content is named and skipped; another one runs the scenario."""
    scripts = {"one": "wc -c <data\n", "two": "wc -c <data\n"}
    with clusters.running(tmp_path, scripts) as site:
        (site.top / "data").write_bytes(os.urandom(9 << 20))
        full = site.start_worker(ISOSMOKE_CACHE_BYTES=str(5 << 20))
        good = site.start_worker()
        code, record, errors = site.run()

    assert code == 0, errors
    assert full.pid != good.pid
    for scenario in record["scenarios"]:
        assert scenario["attempts"][0]["worker"]["pid"] == good.pid
        assert scenario["attempts"][0]["losses"] == []
        assert scenario["output"]["last_lines"] == [str(9 << 20)]
    assert "is skipped: " in errors
    assert "no room" in errors


@pytest.mark.parametrize("mebibytes", [4, 14], ids=["parts", "tree"])
def test_worker_with_a_full_disk_is_skipped(mebibytes: int, tmp_path: Path) -> None:
    """A disk can be full before all parts of a file are there, or when the workspace is created."""
    with clusters.running(tmp_path, {"one": "wc -c <data\n"}) as site:
        (site.top / "data").write_bytes(os.urandom(9 << 20))
        state, _ = site.create_other_state()
        with small_disk(state / "cluster-cache", mebibytes):
            full = site.start_worker(ISOSMOKE_STATE=str(state))
            code, alone, first = site.run()
            good = site.start_worker()
            again_code, record, second = site.run()
            full.kill()
            full.wait()

    assert (code, alone["scenarios"][0]["outcome"]) == (125, "ERROR"), first
    (scenario,) = record["scenarios"]
    assert (again_code, scenario["attempts"][0]["worker"]["pid"]) == (0, good.pid), second
    assert scenario["output"]["last_lines"] == [str(9 << 20)]
    assert "is skipped: " in first
    assert "No space left on device" in first


@contextmanager
def small_disk(directory: Path, mebibytes: int) -> Iterator[None]:
    """Mount an empty disk of this size during a block; only root can."""
    directory.mkdir()
    options = ("-t", "tmpfs", "-o", f"size={mebibytes}m", "isosmoke-test", str(directory))
    if subprocess.run(["mount", *options], check=False, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def test_no_worker_with_room_is_an_error(tmp_path: Path) -> None:
    """Without any worker that can keep the content, the run exits with 125."""
    with clusters.running(tmp_path, {"one": "true\n"}) as site:
        (site.top / "data").write_bytes(os.urandom(2 << 20))
        site.start_worker(ISOSMOKE_CACHE_BYTES=str(1 << 20))
        code, record, errors = site.run()

    assert (code, record["scenarios"][0]["outcome"]) == (125, "ERROR"), errors


def test_large_file_is_sent_once(tmp_path: Path) -> None:
    """A file of several messages arrives whole, and a second run sends nothing."""
    with clusters.running(tmp_path, {"one": "sha256sum data\n"}, workers=1) as site:
        (site.top / "data").write_bytes(os.urandom(10 << 20))
        _, first, errors = site.run()
        times = [blob.stat().st_ctime_ns for blob in list_blobs(site) if blob.stat().st_size > 9e6]
        _, second, _ = site.run()
        again = [blob.stat().st_ino for blob in list_blobs(site) if blob.stat().st_size > 9e6]

    assert len(times) == len(again) == 1
    lines = [record["scenarios"][0]["output"]["last_lines"] for record in (first, second)]
    assert lines[0] == lines[1], errors
    assert lines[0][0].split()[0] in {blob.name for blob in list_blobs(site)}


def test_many_files_reach_several_workers(tmp_path: Path) -> None:
    """Thousands of files and large ones are sent to two workers at once, and none is lost."""
    scripts = {f"s{number}": "cat many/* | wc -l\nsleep 1\n" for number in range(4)}
    with clusters.running(tmp_path, scripts, workers=2) as site:
        (site.top / "many").mkdir()
        for number in range(3000):
            (site.top / f"many/{number}").write_text(f"{number}\n")
        (site.top / "large").write_bytes(os.urandom(60 << 20))
        code, record, errors = site.run()

    attempts = [item["attempts"][0] for item in record["scenarios"]]
    assert code == 0, errors
    assert "is skipped" not in errors
    assert all(tried["losses"] == [] for tried in attempts)
    assert {tried["worker"]["pid"] for tried in attempts} == {item.pid for item in site.workers}
