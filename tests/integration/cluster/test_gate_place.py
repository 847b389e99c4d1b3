"""A gate runs only on workers that a reviewed manifest pins, and its receipt names them."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support import clusters, root_filesystems
from support.clusters import ClusterSite
from support.git_repositories import Git

OWNED = 'owners = ["task"]'
WG = '#!/bin/sh\necho "$@" >>"$HOME/calls"\n'


def call(site: ClusterSite, *arguments: str, **variables: str) -> tuple[int, str]:
    """Return the exit code and the messages of a command in the project."""
    ended = subprocess.run(
        [sys.executable, "-m", "isosmoke", *arguments],
        cwd=site.top,
        env=site.environment(**variables),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stderr


def create_program(path: Path) -> Path:
    """Return a wg that records its calls."""
    path.write_text(WG)
    path.chmod(0o755)
    return path


def create_repository(site: ClusterSite, *certificates: str) -> Git:
    """Return the repository of the project on a branch, with these certificates on main."""
    entry = format_place(site, *certificates) if certificates else ""
    manifest = site.top / "manifest.toml"
    repository = Git(site.top)
    repository.commit(
        "reviewed", _gitignore=".isosmoke\n", manifest_toml=manifest.read_text() + entry
    )
    repository("checkout", "--quiet", "-b", "topic")
    repository.commit("work")
    return repository


def format_place(site: ClusterSite, *certificates: str) -> str:
    """Return the entry of the cluster in a manifest."""
    return f'[[gate.places]]\naddress = "{site.address}"\ncertificates = {[*certificates]}\n'


def read_receipts(site: ClusterSite) -> list[Mapping[str, Any]]:
    """Return isosmoke's fields of the receipts of the project, the oldest first."""
    files = sorted((site.top / ".isosmoke/receipts").glob("*.json"))
    return [json.loads(file.read_bytes())["predicate"]["isosmoke"] for file in files]


def test_place_under_judgement_is_refused(tmp_path: Path) -> None:
    """A place that only the work tree has, or a commit that main lacks, runs nothing."""
    with clusters.running(tmp_path, {"one": "true\n"}, one=OWNED) as site:
        (own,) = site.list_certificates()
        repository = create_repository(site)
        gate = ("gate", "task", "--place", site.address)
        missing = call(site, *gate)
        with (site.top / "manifest.toml").open("a") as manifest:
            manifest.write(format_place(site, own))
        ended = [call(site, *gate)]
        repository.commit("a place of my own")
        ended.append(call(site, *gate))

    assert (missing[0], [code for code, _ in ended]) == (2, [2, 2])
    assert "[gate] places lacks it" in missing[1]
    for _, errors in ended:
        assert "its entry in [gate] places was not reviewed" in errors
    assert read_receipts(site) == []


def test_receipt_names_the_workers(tmp_path: Path) -> None:
    """Only the pinned worker runs scenarios of `gate` and `done`, and the receipt is valid.

    One has its own system, whose content the receipt names.
    """
    scripts = {f"s{number}": "sleep 0.5\n" for number in range(3)}
    program = create_program(tmp_path / "wg")
    root_filesystems.create_small(tmp_path / "system", "sleep", "sh")
    keys = {**dict.fromkeys(scripts, OWNED), "s2": f'{OWNED}\nimage = "rootfs:../system"'}
    with clusters.running(tmp_path, scripts, workers=1, **keys) as site:
        state, _ = site.create_other_state()
        site.start_worker(ISOSMOKE_STATE=str(state))
        site.start_worker(change="dask_settings.__version__ = '0'")
        (own,) = site.list_certificates()
        create_repository(site, own)
        gated = call(site, "gate", "task", "--place", site.address)
        done = call(site, "done", "--place", site.address, "task", ISOSMOKE_WG=str(program))
        first = min((site.top / ".isosmoke/receipts").glob("*.json"))
        valid = call(site, "receipt", "verify", str(first))

    assert (gated[0], done[0], valid[0]) == (0, 0, 0), (gated, done, valid)
    for _, errors in (gated, done):
        (note,) = [line for line in errors.splitlines() if line.startswith("NOTE ")]
        assert "is not used" in note
        assert "is isosmoke 0 with protocol" in note
    for found, way in zip(read_receipts(site), ("gate", "done"), strict=True):
        assert (found["open"], found["place"], found["way"]) == (True, site.address, way)
        workers = [worker for named in found["workers"].values() for worker in named]
        assert found["workers"].keys() == scripts.keys()
        assert {worker["certificate"] for worker in workers} == {own}
    assert "done task" in (tmp_path / "home/calls").read_text()


def test_gate_without_a_pinned_worker_is_shut(tmp_path: Path) -> None:
    """Other workers receive no order: the gate is shut with 125, and names them."""
    with clusters.running(tmp_path, {"one": "true\n"}, one=OWNED) as site:
        state, foreign = site.create_other_state()
        site.start_worker(ISOSMOKE_STATE=str(state))
        create_repository(site, *site.list_certificates())
        code, errors = call(site, "gate", "task", "--place", site.address)

    assert code == 125
    assert f"has the certificate {foreign}" in " ".join(errors.split())
