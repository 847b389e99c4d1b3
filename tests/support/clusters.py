"""A cluster of real processes for a test, and a project whose scenarios run there."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support import available, forked_commands, tcp_proxy
from support.paths import TESTS

pytest.importorskip(
    "distributed", reason="the extra isosmoke[cluster] is not installed: no test of a cluster runs"
)
from isosmoke.cluster import connection, dask_settings, processes
from isosmoke.cluster.identity import certificates

_SCHEDULER = (
    f"from {processes.__name__} import run_scheduler;"
    f"from {certificates.__name__} import ensure_own; ensure_own();"
    "run_scheduler('127.0.0.1', 0, lambda a: print(a, flush=True),"
    " **{'distributed.scheduler.worker-ttl': '2s'})"
)
_WORKER = (
    f"import sys; from {processes.__name__} import run_worker;"
    f"from {dask_settings.__package__} import dask_settings; {{change}};"
    "run_worker(sys.argv[1], int(sys.argv[2]), lambda a: print(a, flush=True))"
)
_START_SECONDS = 60

CONNECTION = connection.__name__
"""The module that connects a client to a scheduler."""


@dataclass(slots=True)
class ClusterSite:
    """A project, and the processes of a cluster whose state is in `state`."""

    top: Path
    state: Path
    address: str = ""
    scheduler: "subprocess.Popen[str] | None" = None
    workers: list["subprocess.Popen[str]"] = field(default_factory=list)
    runs: list["subprocess.Popen[str]"] = field(default_factory=list)

    @classmethod
    def within(cls, directory: Path, scripts: Mapping[str, str], **keys: str) -> "ClusterSite":
        """Create a project with these scripts; `keys` are lines of the entries of scenarios."""
        site = cls(directory / "project", directory / "state")
        site.top.mkdir()
        (directory / "home").mkdir()
        entries = []
        for name, text in scripts.items():
            (site.top / f"{name}.sh").write_text(text)
            more = keys.get(name, "")
            entries.append(f'[[scenario]]\nname = "{name}"\nscript = "{name}.sh"\n{more}\n')
        (site.top / "manifest.toml").write_text("\n".join(entries))
        return site

    def environment(self, **variables: str) -> Mapping[str, str]:
        """Return the environment of a user with the system's programs only."""
        return {
            "PATH": available.PATH,
            "HOME": str(self.top.parent / "home"),
            "ISOSMOKE_STATE": str(self.state),
            **variables,
        }

    def list_certificates(self, *hosts: str) -> list[str]:
        """Create certificates of hosts; return the SHA-256 of this machine's, and of theirs."""
        made = subprocess.run(
            [sys.executable, "-m", "isosmoke", "cluster", "certificates", *hosts],
            env=self.environment(),
            cwd=self.top,
            capture_output=True,
            text=True,
            check=True,
        )
        return [line.split()[-1] for line in made.stdout.splitlines()]

    def create_other_state(self) -> tuple[Path, str]:
        """Return the state directory of another machine, and the SHA-256 of its certificate."""
        _, fingerprint = self.list_certificates("other")
        state = self.top.parent / "other"
        (state / "cluster").mkdir(parents=True, mode=0o700)
        shutil.copytree(self.state / "cluster/hosts/other", state / "cluster/own")
        return state, fingerprint

    def start_scheduler(self) -> None:
        """Start a scheduler that notices a silent worker soon."""
        self.scheduler = self._start(_SCHEDULER)
        self.address = self._read(self.scheduler)

    def start_proxy(self) -> tuple["subprocess.Popen[str]", str]:
        """Start a proxy of the scheduler; return it, and the address for workers."""
        proxy = subprocess.Popen(
            [sys.executable, "-m", tcp_proxy.__name__, self.address.rpartition(":")[2]],
            cwd=TESTS,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.runs.append(proxy)
        return proxy, self._read(proxy)

    def start_worker(
        self, slots: int = 1, *, change: str = "pass", through: str = "", **variables: str
    ) -> "subprocess.Popen[str]":
        """Start a worker; the statement `change` runs in it before.

        It reaches the scheduler directly, or `through` the address of a proxy.
        """
        code, address = _WORKER.format(change=change), through or self.address
        worker = self._start(code, address, str(slots), **variables)
        self.workers.append(worker)
        self._read(worker)
        return worker

    def _start(self, code: str, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env=self.environment(**variables),
            cwd=self.top.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )

    @staticmethod
    def _read(process: "subprocess.Popen[str]") -> str:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        assert line.startswith("tls://"), line
        return line

    def run(self, *arguments: str, **variables: str) -> tuple[int, dict[str, Any], str]:
        """Return the exit code, the record and the messages of a run in the cluster."""
        environment = self.environment(**variables)
        done = forked_commands.run(self._list_arguments(*arguments), self.top, environment)
        return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr

    def start_run(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a run in the cluster, with its record on stdout."""
        run = subprocess.Popen(
            self.command(*arguments),
            env=self.environment(),
            cwd=self.top,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.runs.append(run)
        return run

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a run in the cluster."""
        return [sys.executable, "-m", "isosmoke", *self._list_arguments(*arguments)]

    def _list_arguments(self, *arguments: str) -> Sequence[str]:
        own = ("--manifest", "manifest.toml", "--place", self.address, "--json")
        return ["run", *own, *arguments]

    def end(self) -> None:
        """End every process of the cluster, and every run, also after a failed assertion."""
        for process in (*self.runs, *self.workers, *filter(None, [self.scheduler])):
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
            for stream in filter(None, (process.stdout, process.stderr)):
                stream.close()


@contextmanager
def running(
    directory: Path, scripts: Mapping[str, str], workers: int = 0, **keys: str
) -> Iterator[ClusterSite]:
    """Run a scheduler and workers during a block, and end them."""
    available.require_engine("bubblewrap")
    site = ClusterSite.within(directory, scripts, **keys)
    try:
        site.start_scheduler()
        for _ in range(workers):
            site.start_worker()
        yield site
    finally:
        site.end()


def find_processes(*arguments: str) -> list[int]:
    """Return the processes of this machine, sandboxes included, with all of these arguments."""
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal():
            with suppress(OSError):
                words = (directory / "cmdline").read_bytes().split(b"\0")
                if {argument.encode() for argument in arguments} <= set(words):
                    found.append(int(directory.name))
    return found


def list_files(directory: Path) -> Iterator[Path]:
    """Yield the files below a directory, some of which may vanish meanwhile."""
    for parent, _, names in os.walk(directory):
        yield from (Path(parent, name) for name in names)


def list_listeners(pid: int) -> list[int]:
    """Return the TCP ports on which a process listens."""
    sockets = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            if match := re.fullmatch(r"socket:\[(\d+)\]", str(link.readlink())):
                sockets.add(match[1])
    ports = []
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                ports.append(int(fields[1].rpartition(":")[2], 16))
    return ports
