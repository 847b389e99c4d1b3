"""Workers on other machines are started through ssh, with an identity that ends with them."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support import available, clusters
from support.clusters import ClusterSite

LISTEN = ("--host", "127.0.0.1", "--port", "0")

SSH = """#!/bin/sh
while [ "$1" != "alpha" ] && [ "$1" != "beta" ]; do shift; done
ISOSMOKE_STATE="$HOME/state-of-$1"; export ISOSMOKE_STATE; shift
exec sh -c "$*"
"""
"""A program ssh whose hosts are state directories of this machine."""


def list_keys(site: ClusterSite) -> list[Path]:
    """Return the keys that are on the hosts."""
    files = clusters.list_files(site.top.parent / "home")
    return [path for path in files if path.name == "key.pem"]


def install_ssh(site: ClusterSite, text: str) -> str:
    """Install a program ssh, and return the PATH with it."""
    program = site.top.parent / "programs/ssh"
    program.parent.mkdir()
    program.write_text(text)
    program.chmod(0o755)
    return f"{program.parent}:{available.PATH}"


@contextmanager
def running_on_hosts(site: ClusterSite) -> Iterator[dict[str, str]]:
    """Run workers on two hosts during a block; yield the certificate of each."""
    worker = f"{sys.executable} -P -m isosmoke"
    command = ["cluster", "ssh", "alpha", "beta", *LISTEN, "--slots", "1", "--program", worker]
    process = subprocess.Popen(
        [sys.executable, "-m", "isosmoke", *command],
        cwd=site.top,
        env=site.environment(PATH=install_ssh(site, SSH)),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as output:
        lines = [output.readline().split() for _ in range(3)]
        site.address = lines[0][1]
        yield {words[0]: words[-1] for words in lines[1:]}
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0


def test_hosts_of_ssh_are_workers(tmp_path: Path) -> None:
    """Each host has a worker with its own certificate; all end with the command, without a key."""
    available.require_engine("bubblewrap")
    site = ClusterSite.within(tmp_path, {f"s{number}": "sleep 1\n" for number in range(2)})
    with running_on_hosts(site) as certificates:
        keys = list_keys(site)
        run = site.start_run()
        record, errors = run.communicate()
    assert available.wait_for(lambda: not list_keys(site), 120)

    assert len(keys) == 2
    assert run.returncode == 0, errors
    attempts = [item["attempts"][0] for item in json.loads(record)["scenarios"]]
    assert certificates.keys() == {"alpha", "beta"}
    assert {tried["worker"]["certificate"] for tried in attempts} == {*certificates.values()}
    assert available.wait_for(lambda: not clusters.find_processes(site.address), 120)


def test_host_that_ssh_cannot_reach_is_named(tmp_path: Path) -> None:
    """Without a worker on every host, the command ends with 125 and names the one that failed."""
    site = ClusterSite.within(tmp_path, {"one": "true\n"})
    path = install_ssh(site, "#!/bin/sh\necho no route >&2\nexit 255\n")
    ended = subprocess.run(
        [sys.executable, "-m", "isosmoke", "cluster", "ssh", "alpha", *LISTEN],
        cwd=site.top,
        env=site.environment(PATH=path),
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 125
    assert "no route" in ended.stderr
    assert "the worker on alpha did not start" in ended.stderr
