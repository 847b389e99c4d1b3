"""`isosmoke teeth --place` has the verdicts of this machine: plans and recordings go both ways."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from support import clusters, forked_commands
from support.clusters import ClusterSite
from support.paths import TESTS

SABOTAGES = ("replay", "stale", "orphan")
"""Sabotages that together need all that a stand-in has: recorded answers, an earlier output."""

KEPT = ("verdict", "outcome", "reason", "subcommand", "sabotage")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterSite]:
    """Return the planted suite with its program and an older one, and two workers."""
    with clusters.running(tmp_path_factory.mktemp("planted"), {}, workers=2) as created:
        shutil.copytree(TESTS / "planted", created.top, dirs_exist_ok=True)
        older = created.top / "older"
        older.write_text((created.top / "depot").read_text().replace("stored $1", "saved $1"))
        older.chmod(0o755)
        (created.top / "depot").chmod(0o755)
        yield created


def measure(site: ClusterSite, *arguments: str, code: int = 0, **variables: str) -> Any:
    """Return the document of a measurement, or its messages if it is refused."""
    command = ["teeth", "--manifest", "manifest.toml", "--binary", "depot", "--json", *arguments]
    done = forked_commands.run(command, site.top, site.environment(**variables))
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


def list_cells(document: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the cells of each scenario, without what differs between any two measurements."""
    return {
        scenario["name"]: [{key: cell[key] for key in KEPT} for cell in scenario["cells"]]
        for scenario in document["scenarios"]
    }


def test_verdicts_are_those_of_this_machine(site: ClusterSite) -> None:
    """Each cell of the planted suite is the same on workers, whose results are kept apart."""
    options = ("--against", "older", *(part for name in SABOTAGES for part in ("--sabotage", name)))
    here = measure(site, *options)
    there = measure(site, "--place", site.address, *options)
    again = measure(site, "--place", site.address, *options)

    assert list_cells(there) == list_cells(here)
    assert there["runs"] == here["runs"] > 0
    assert (there["reused"], again["runs"]) == (0, 0)
    assert not there["self_test_failed"]


def test_calls_are_explained_on_workers(site: ClusterSite) -> None:
    """The lines of the calls that a scenario does not notice are the same on workers."""
    options = ("looks_only_at_output", "--explain", "put", "--sabotage", "replay")
    here = measure(site, *options)
    there = measure(site, "--place", site.address, *options)

    assert there["calls"] == here["calls"]
    assert [call["line"] for call in there["calls"]] != [None]


def test_secrets_are_not_recorded_on_workers(site: ClusterSite) -> None:
    """A scenario with a secret is refused, because a recording cannot be redacted."""
    manifest = site.top / "manifest.toml"
    text = manifest.read_text()
    try:
        manifest.write_text(
            text.replace("timeout_seconds", 'pass_env = ["ACCESS"]\ntimeout_seconds')
        )
        errors = measure(site, "--place", site.address, "--fresh", code=2, ACCESS="x")
    finally:
        manifest.write_text(text)

    assert "receives the secrets ACCESS" in errors
    assert "measure it without --place" in errors
