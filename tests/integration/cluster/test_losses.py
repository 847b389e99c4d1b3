"""A lost worker, scheduler or client is never a verdict, and leaves no process behind."""

import json
import os
import random
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from support import available, clusters
from support.clusters import ClusterSite

SEED = 20
NUMBER = f"31.{os.getpid()}"
"""The duration of a sleep that no other process of this machine has."""

SLOW = f"sleep {NUMBER}\n"
SHORT = "sleep 2\necho done\n"


def read_result(process: Any) -> tuple[int, dict[str, Any], str]:
    """Return the exit code, the record and the messages of a run that ends."""
    output, errors = process.communicate(timeout=120)
    return process.returncode, json.loads(output) if output else {}, errors


def is_past(moment: float) -> bool:
    """Return whether a moment by `monotonic` has passed."""
    return monotonic() > moment


def sleeps(number: str = NUMBER) -> bool:
    """Return whether a scenario of this test sleeps in its sandbox."""
    return bool(clusters.find_processes(number))


def list_ancestors(pid: int) -> set[int]:
    """Return a process and those above it; fewer if one of them ends."""
    found = set()
    while pid > 1:
        found.add(pid)
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            break
        pid = int(stat.rpartition(")")[2].split()[1])
    return found


def find_sleeping(site: ClusterSite, number: str) -> dict[int, list[int]]:
    """Map the PID of each worker to the processes that sleep for `number` seconds below it."""
    below: dict[int, list[int]] = {}
    for pid in clusters.find_processes(number):
        ancestors = list_ancestors(pid)
        for worker in site.workers:
            if worker.pid in ancestors:
                below.setdefault(worker.pid, []).append(pid)
    return below


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
def test_lost_worker_is_replaced(number: signal.Signals, tmp_path: Path) -> None:
    """The attempt is made again on the other worker; the loss is recorded, and nothing is left."""
    wanted = f"600.{os.getpid()}"
    with clusters.running(tmp_path, {"one": f"sleep {wanted} || true\n"}, workers=2) as site:
        run = site.start_run()
        assert available.wait_for(lambda: find_sleeping(site, wanted), 120)
        (first,) = find_sleeping(site, wanted)
        (busy,) = [worker for worker in site.workers if worker.pid == first]
        (other,) = [worker for worker in site.workers if worker.pid != first]
        busy.send_signal(number)
        assert available.wait_for(lambda: other.pid in find_sleeping(site, wanted), 120)
        for pid in find_sleeping(site, wanted)[other.pid]:
            os.kill(pid, signal.SIGTERM)
        code, record, errors = read_result(run)
        busy.send_signal(signal.SIGCONT)
        assert available.wait_for(lambda: not sleeps(wanted), 120)

    (scenario,) = record["scenarios"]
    (attempt,) = scenario["attempts"]
    assert (code, scenario["outcome"]) == (0, "PASS"), errors
    (loss,) = attempt["losses"]
    assert loss["phase"] == "started"
    assert attempt["worker"]["pid"] != busy.pid
    assert any("was lost" in note for note in record["notes"])


def test_worker_that_is_cut_off_is_replaced(tmp_path: Path) -> None:
    """A worker that nothing reaches goes on: its late result is dropped, and another one counts."""
    wanted = f"601.{os.getpid()}"
    with clusters.running(tmp_path, {"one": f"sleep {wanted}\n"}) as site:
        proxy, address = site.start_proxy()
        cut = site.start_worker(through=address)
        run = site.start_run("--confirm", "never")
        assert available.wait_for(lambda: cut.pid in find_sleeping(site, wanted), 120)
        other = site.start_worker()
        proxy.send_signal(signal.SIGSTOP)
        assert available.wait_for(lambda: other.pid in find_sleeping(site, wanted), 120)
        for pid in find_sleeping(site, wanted).get(cut.pid, ()):
            os.kill(pid, signal.SIGKILL)
        assert available.wait_for(lambda: cut.pid not in find_sleeping(site, wanted), 120)
        proxy.send_signal(signal.SIGCONT)
        for pid in find_sleeping(site, wanted)[other.pid]:
            os.kill(pid, signal.SIGTERM)
        code, record, errors = read_result(run)

    (scenario,) = record["scenarios"]
    (attempt,) = scenario["attempts"]
    assert (code, scenario["outcome"]) == (1, "FAIL"), errors
    assert attempt["exit_code"] == 128 + signal.SIGTERM
    assert attempt["worker"]["pid"] == other.pid
    (loss,) = attempt["losses"]
    assert loss["phase"] == "started"


def test_workers_that_die_change_no_verdict(tmp_path: Path) -> None:
    """Three of four workers are killed at seeded moments; all outcomes are as declared."""
    scripts = {
        f"s{number}": f"sleep 0.{number % 5}\nexit {number % 3 and 1}\n" for number in range(16)
    }
    moments = random.Random(SEED)  # noqa: S311 - the moments are to be the same again
    with clusters.running(tmp_path, scripts, workers=4) as site:
        run = site.start_run("--confirm", "never")
        runs = site.top / ".isosmoke/runs"
        for worker in site.workers[:3]:
            moment = monotonic() + moments.uniform(0.05, 0.6)
            assert available.wait_for(lambda: any(runs.glob("*/s*")), 120)
            assert available.wait_for(partial(is_past, moment), 120)
            worker.kill()
        code, record, errors = read_result(run)

    outcomes = {item["name"]: item["outcome"] for item in record["scenarios"]}
    declared = {f"s{number}": "FAIL" if number % 3 else "PASS" for number in range(16)}
    assert outcomes == declared, errors
    assert code == 1
    losses = [
        loss
        for item in record["scenarios"]
        for tried in item["attempts"]
        for loss in tried["losses"]
    ]
    assert len(losses) <= 3 * 2
    assert all(loss["worker"].startswith("tls://") for loss in losses)


DIES_WITH_RESULT = (
    "import distributed as d; d.Worker.get_data = lambda *_, **__: os.kill(os.getpid(), 9)"
)
RAISES = "from isosmoke.execution.places.performer import Performer; Performer.perform = None"
SIGNS_NOTHING = (
    "from isosmoke.cluster.identity.sealing import WorkerKey; WorkerKey.sign = lambda *_: b''"
)
ANSWERS_NOTHING = (
    "from isosmoke.execution.places.performer import Performer;"
    "Performer.perform = lambda *_, **__: b''"
)
LEAVES_SANDBOX = (
    "from isosmoke.execution.places import answer; encode = answer.encode;"
    "from dataclasses import replace;"
    "answer.encode = lambda nonce, value: encode(nonce, replace(value, is_gone=False))"
)


@pytest.mark.parametrize(
    "change", [DIES_WITH_RESULT, RAISES, SIGNS_NOTHING, ANSWERS_NOTHING, LEAVES_SANDBOX]
)
def test_other_worker_receives_what_one_lost(change: str, tmp_path: Path) -> None:
    """An attempt is made on another worker if one ends, breaks or answers without a record."""
    with clusters.running(tmp_path, {"one": "true\n"}) as site:
        broken = site.start_worker(2, change=f"import os; {change}")
        other = site.start_worker()
        code, record, errors = site.run()

    (scenario,) = record["scenarios"]
    (attempt,) = scenario["attempts"]
    assert (code, scenario["outcome"]) == (0, "PASS"), errors
    assert len(attempt["losses"]) == 1, attempt["losses"]
    assert attempt["worker"]["pid"] == other.pid != broken.pid


def test_last_worker_lost_is_an_error(tmp_path: Path) -> None:
    """Without another worker, the attempt is an error of the infrastructure: exit code 125."""
    with clusters.running(tmp_path, {"one": SLOW}, workers=1) as site:
        run = site.start_run()
        assert available.wait_for(sleeps, 120)
        site.workers[0].kill()
        code, record, errors = read_result(run)
        assert available.wait_for(lambda: not sleeps(), 120)

    (scenario,) = record["scenarios"]
    assert (code, scenario["outcome"]) == (125, "ERROR"), errors
    assert scenario["reason"].startswith("lost 3 workers: ")
    assert [loss["phase"] for loss in scenario["attempts"][0]["losses"]] == [
        "started",
        "sent",
        "sent",
    ]


def test_dead_scheduler_is_an_error(tmp_path: Path) -> None:
    """A run whose scheduler dies exits with 125, and its sandboxes end."""
    with clusters.running(tmp_path, {"one": SLOW}, workers=1) as site:
        run = site.start_run()
        assert available.wait_for(sleeps, 120)
        assert site.scheduler is not None
        site.scheduler.kill()
        code, record, errors = read_result(run)
        assert available.wait_for(lambda: not sleeps(), 120)

    assert (code, record["scenarios"][0]["outcome"]) == (125, "ERROR"), errors


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_sandboxes_end_with_client(number: signal.Signals, tmp_path: Path) -> None:
    """Any end of the client ends its sandboxes, and the worker takes further orders."""
    with clusters.running(tmp_path, {"one": SLOW, "two": "true\n"}, workers=1) as site:
        run = site.start_run("one")
        assert available.wait_for(sleeps, 120)
        run.send_signal(number)
        ended = monotonic()
        assert available.wait_for(lambda: not sleeps(), 120)
        seconds = monotonic() - ended
        code, record, _ = read_result(run)
        again, after, errors = read_result(site.start_run("two"))

    expected: dict[signal.Signals, Callable[[], bool]] = {
        signal.SIGKILL: lambda: code == -signal.SIGKILL,
        signal.SIGINT: lambda: (code, record["scenarios"][0]["outcome"]) == (130, "NOT_RUN"),
        signal.SIGTERM: lambda: (code, record["scenarios"][0]["outcome"]) == (143, "NOT_RUN"),
    }
    assert expected[number]()
    assert (again, after["scenarios"][0]["outcome"]) == (0, "PASS"), errors
    print(f"the sandbox was gone {seconds:.2f} s after {number.name}")  # noqa: T201
