"""Secrets of scenarios reach only workers that are pinned, and nothing else of a cluster."""

import json
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from support import clusters
from support.clusters import ClusterSite

VARIABLE, FILE = "the-secret-variable", "the-secret-of-a-file"
UNUSED = "the-secret-of-another-scenario"
SCRIPT = 'test ${#TOKEN} = 19 && cat ~/token && echo "has $TOKEN"\n'
KEYS = 'pass_env = ["TOKEN"]\npass_files = ["~/token"]'

SPY = (
    "from isosmoke.cluster import tasks; from distributed.comm.tcp import TCP; real = TCP.read\n"
    "async def read(self, deserializers=None):\n"
    "    message = await real(self, deserializers)\n"
    "    print(repr(message), file=open({log!r}, 'a'))\n"
    "    return message\n"
    "TCP.read = read\n"
)
"""A change that makes a worker keep every message that it receives."""


def run(site: ClusterSite, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Return the exit code, the record and the messages of a run with the secrets."""
    (site.top.parent / "home/token").write_text(FILE)
    ended = subprocess.run(
        site.command(*arguments),
        cwd=site.top,
        env=site.environment(TOKEN=VARIABLE),
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, json.loads(ended.stdout) if ended.stdout else {}, ended.stderr


def test_unpinned_worker_never_receives_secrets(tmp_path: Path) -> None:
    """It is named with the remedy; next to a pinned one it receives orders, but no secret."""
    log = tmp_path / "received"
    scripts = {"secret": SCRIPT, **{f"s{number}": "sleep 1\n" for number in range(3)}}
    with clusters.running(tmp_path, scripts, secret=KEYS) as site:
        state, fingerprint = site.create_other_state()
        spy = f"exec({SPY.format(log=str(log))!r})"
        other = site.start_worker(change=spy, ISOSMOKE_STATE=str(state))
        refused = run(site)
        own = site.start_worker(change=spy.replace("received", "pinned"))
        code, record, errors = run(site)

    assert (refused[0], refused[1]) == (2, {})
    assert "'secret' cannot run in a place: it receives the secrets TOKEN, ~/token" in refused[2]
    assert f"has the certificate {fingerprint}" in refused[2]
    assert "[[gate.places]]" in refused[2]
    workers = {item["name"]: item["attempts"][0]["worker"] for item in record["scenarios"]}
    assert (code, workers["secret"]["pid"]) == (0, own.pid), errors
    assert other.pid in {worker["pid"] for worker in workers.values()}
    assert workers["secret"]["certificate"] != fingerprint
    received = log.read_text()
    assert "s1.sh" in received
    for secret in (VARIABLE, FILE):
        assert secret not in received
        assert secret not in (tmp_path / "pinned").read_text()


def test_pinned_worker_redacts_secrets(tmp_path: Path) -> None:
    """The worker has variable and file; its answer has neither, and its cache keeps none.

    Nor has it a secret file in the workspace, of a scenario that is not selected.
    """
    scripts = {"secret": f"{SCRIPT}cat unused && exit 1\n:\n", "other": "true\n"}
    other = f'pass_files = ["{tmp_path}/project/unused"]'
    with clusters.running(tmp_path, scripts, 1, secret=KEYS, other=other) as site:
        (site.top / "unused").write_text(UNUSED)
        code, record, errors = run(site, "secret")
        kept = []
        for path in clusters.list_files(site.state):
            with suppress(FileNotFoundError):
                content = path.read_bytes()
                kept += [path] if FILE.encode() in content or UNUSED.encode() in content else []

    (scenario,) = record["scenarios"]
    assert (code, scenario["outcome"]) == (0, "PASS"), errors
    text = "\n".join(scenario["output"]["last_lines"])
    assert "has " in text
    assert VARIABLE not in text
    assert FILE not in text
    assert kept == []
