"""A root filesystem is sent like any content: the sandbox there is the one of this machine."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import clusters, forked_commands, root_filesystems
from support.clusters import ClusterSite

LOOKS = """
stat -c '%n %F %a %u:%g %h' / /etc /etc/* /usr/bin/* /odd /odd/*
stat -c '%n %Y %s' /usr/bin/*tool /usr/bin/stat /odd /odd/*
readlink /etc/link
tool && cat /odd/kept
echo "$PATH"; id; test ! -e /usr/bin/python3
"""
SYSTEM = 'image = "rootfs:system"'
IMPORTED = 'image = "imported"'


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ClusterSite]:
    """Return a project with a system that no worker has, and a scheduler."""
    scripts = {"one": LOOKS, "two": LOOKS, "host": "test -e /usr/bin/env\n"}
    with clusters.running(tmp_path, scripts, one=SYSTEM, two=IMPORTED) as created:
        system = root_filesystems.create_small(
            created.top / "system", "stat", "readlink", "cat", "id"
        )
        (system / "usr/bin/tool").write_text("#!/bin/bash\necho tool\n")
        (system / "usr/bin/tool").chmod(0o755)
        (system / "usr/bin/same-tool").hardlink_to(system / "usr/bin/tool")
        (system / "etc/link").symlink_to("hosts")
        (system / "odd").mkdir(mode=0o711)
        (system / "odd/kept").write_text("kept\n")
        os.mkfifo(system / "odd/fifo", 0o620)
        if os.getuid() == 0:
            os.chown(system / "odd/kept", 1234, 5678)
        yield created


def run_here(site: ClusterSite, *arguments: str) -> dict[str, list[str]]:
    """Return the last lines of each scenario on this machine."""
    command = ("run", "--manifest", "manifest.toml", "--json", *arguments)
    done = forked_commands.run(command, site.top, site.environment())
    assert done.returncode == 0, done.stdout + done.stderr
    return list_lines(json.loads(done.stdout))


def list_lines(record: dict[str, list[dict[str, dict[str, list[str]]]]]) -> dict[str, list[str]]:
    """Return the last lines of each scenario of a record."""
    return {item["name"]: item["output"]["last_lines"] for item in record["scenarios"]}  # type: ignore[misc]


def test_sandbox_is_that_of_this_machine(site: ClusterSite) -> None:
    """A directory and an imported image show the same on a worker that has neither of them.

    The worker has the state directory of another machine. Content that was damaged is sent again.
    """
    imported = forked_commands.run(
        ("image", "import", "system", "imported"), site.top, site.environment()
    )
    assert imported.returncode == 0, imported.stderr
    here = run_here(site)
    state, _ = site.create_other_state()
    worker = site.start_worker(ISOSMOKE_STATE=str(state))
    code, record, errors = site.run()
    worker.kill()
    worker.wait()
    (cache,) = (state / "cluster-cache").iterdir()
    for tool in cache.glob("trees/*/root/usr/bin/tool"):
        tool.write_text("#!/bin/bash\necho another\n")
    for blob in (cache / "blobs").iterdir():
        if blob.read_bytes() == b"kept\n":
            blob.write_bytes(b"lost\n")
    site.start_worker(ISOSMOKE_STATE=str(state))
    again_code, again, _ = site.run()

    assert (code, again_code) == (0, 0), errors
    assert here["one"]
    assert list_lines(record) == here
    assert list_lines(again) == here


def test_error_has_the_name_of_the_image(site: ClusterSite) -> None:
    """A message about a system names it as the manifest does, not its directory on the worker."""
    (site.top / "system/usr/bin/bash").unlink()
    site.start_worker()
    code, record, errors = site.run("one", "host")

    one, host = (
        next(item for item in record["scenarios"] if item["name"] == name)
        for name in ("one", "host")
    )
    assert (code, host["outcome"]) == (125, "PASS"), errors
    assert one["outcome"] == "ERROR"
    assert "rootfs:system" in one["reason"]
    assert "cluster-cache" not in one["reason"]


def test_system_without_room_is_an_error(site: ClusterSite) -> None:
    """A worker that can receive the parts, but not create the system, is skipped and named."""
    size = sum(path.stat().st_size for path in clusters.list_files(site.top) if path.is_file())
    shutil.rmtree(site.top / "system/odd")
    full = site.start_worker(ISOSMOKE_CACHE_BYTES=str(int(size * 1.5)))
    code, record, errors = site.run("one")

    assert (code, record["scenarios"][0]["outcome"]) == (125, "ERROR")
    assert "for one, the worker " in errors
    assert full.poll() is None
