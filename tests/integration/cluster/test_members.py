"""Only a worker of the same versions receives orders; locks and requirements are its own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from isosmoke import __version__, interrupt
from support import available, clusters
from support.clusters import ClusterSite

OTHER = "dask_settings.get_fence = lambda: 'isosmoke:0:0.0.1:2020.1'"
"""A change that makes a worker declare other versions."""


def test_worker_of_another_version_gets_no_order(tmp_path: Path) -> None:
    """Without a worker that fits, the run exits with 125 at once, and names worker and version."""
    with clusters.running(tmp_path, {"one": "true\n"}) as site:
        site.start_worker(change=OTHER)
        code, record, errors = site.run()
        site.start_worker()
        again, after, notes = site.run()

    assert (code, record) == (125, {})
    assert f"fits isosmoke {__version__}: tls://" in errors
    assert "is isosmoke 0.0.1 with protocol 0" in errors
    assert (again, after["scenarios"][0]["outcome"]) == (0, "PASS"), notes
    assert "is isosmoke 0.0.1 with protocol 0 and distributed 2020.1 is not used" in notes


def test_modules_of_a_project_are_not_those_of_its_workers(tmp_path: Path) -> None:
    """A project may have a directory `isosmoke`, such as isosmoke itself, or a `distributed.py`."""
    site = ClusterSite.within(tmp_path, {"one": "true\n"})
    (site.top / "isosmoke").mkdir()
    for module in ("isosmoke/__init__.py", "distributed.py", "json.py"):
        (site.top / module).write_text("raise SystemExit(f'{__file__} was imported')\n")
    arguments = ("run", "--manifest", "manifest.toml", "--place", "local:1", "--json")
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "isosmoke", *arguments],
        cwd=site.top,
        env=site.environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert json.loads(ended.stdout)["scenarios"][0]["outcome"] == "PASS"


def test_cluster_without_workers_is_refused(tmp_path: Path) -> None:
    """A scheduler without workers is an error that names the command that adds one."""
    with clusters.running(tmp_path, {"one": "true\n"}) as site:
        code, _, errors = site.run()

    assert code == 125
    assert f"isosmoke worker {site.address}" in errors


def test_requirement_is_judged_by_the_worker(tmp_path: Path) -> None:
    """A program that only the worker lacks makes the scenario a skip with its reason."""
    keys = 'requires = { commands = ["no-such-program-anywhere"] }'
    with clusters.running(tmp_path, {"one": "true\n"}, workers=1, one=keys) as site:
        code, record, _ = site.run()

    (scenario,) = record["scenarios"]
    assert (code, scenario["outcome"]) == (77, "SKIP")
    assert "no-such-program-anywhere" in scenario["reason"]


def test_lock_holds_between_clients(tmp_path: Path) -> None:
    """Scenarios of two clients with the same lock are never in a worker at the same time."""
    duration = f"1.{os.getpid()}"
    scripts = {"one": f"sleep {duration}\n"}
    with clusters.running(tmp_path, scripts, workers=2, one='locks = ["port"]') as site:
        runs = [site.start_run() for _ in range(2)]
        most = 0

        def have_ended() -> bool:
            nonlocal most
            most = max(most, len(clusters.find_processes("sleep", duration)))
            return all(process.poll() is not None for process in runs)

        assert available.wait_for(have_ended, 120)
        outputs = [process.communicate() for process in runs]

    assert [process.returncode for process in runs] == [0, 0], outputs
    assert most == 1


def test_alone_has_all_slots_of_a_worker(tmp_path: Path) -> None:
    """While one client's scenario runs alone, a worker gives none of its slots to another."""
    mine, other = f"2.{os.getpid()}1", f"1.{os.getpid()}2"
    scripts = {"mine": f"sleep {mine}\n", "other": f"sleep {other}\n"}
    with clusters.running(tmp_path, scripts) as site:
        site.start_worker(2)
        first = site.start_run("mine")
        assert available.wait_for(lambda: clusters.find_processes(mine), 120)
        second = site.start_run("other")
        together = False

        def have_ended() -> bool:
            nonlocal together
            both = clusters.find_processes(mine) and clusters.find_processes(other)
            together = together or bool(both)
            return first.poll() is not None and second.poll() is not None

        assert available.wait_for(have_ended, 120)
        outputs = [process.communicate() for process in (first, second)]

    records = [json.loads(output) for output, _ in outputs]
    assert [record["scenarios"][0]["outcome"] for record in records] == ["PASS", "PASS"]
    assert not together


def test_scenarios_run_together_in_slots(tmp_path: Path) -> None:
    """A worker with two slots runs two scenarios of a client at once."""
    durations = [f"600.{os.getpid()}{number}" for number in range(2)]
    scripts = {f"s{number}": f"sleep {text} || true\n" for number, text in enumerate(durations)}
    with clusters.running(tmp_path, scripts) as site:
        site.start_worker(2)
        process = site.start_run()
        assert available.wait_for(lambda: all(map(clusters.find_processes, durations)), 120)
        for pid in (pid for text in durations for pid in clusters.find_processes(text)):
            os.kill(pid, signal.SIGTERM)
        output, errors = process.communicate(timeout=60)

    assert process.returncode == 0, errors
    assert len(json.loads(output)["scenarios"]) == 2


SHOW_INTERVAL = f"""
import sys
from {clusters.CONNECTION} import connected
from {interrupt.__name__} import Interrupt
with connected(sys.argv[1], Interrupt()) as place:
    print(place.client.scheduler_comm.interval)
"""


def test_order_follows_the_release_of_another_at_once(tmp_path: Path) -> None:
    """A message to the scheduler does not wait for the 10 ms that Dask leaves between two."""
    with clusters.running(tmp_path, {}, workers=1) as site:
        shown = subprocess.run(
            [sys.executable, "-c", SHOW_INTERVAL, site.address],
            env=site.environment(),
            capture_output=True,
            text=True,
            check=True,
        )

    assert float(shown.stdout) <= 0.001


def test_doctor_shows_the_workers(tmp_path: Path) -> None:
    """Each worker is listed with its process, host, engine and slots, and so are differences."""
    change = "import platform; platform.python_version = lambda: '3.0'"
    with clusters.running(tmp_path, {"one": "true\n"}) as site:
        first = site.start_worker(2)
        second = site.start_worker(change=change)
        shown = [
            subprocess.run(
                [sys.executable, "-m", "isosmoke", "doctor", "--place", site.address, *more],
                cwd=site.top,
                env=site.environment(),
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for more in ((), ("--json",))
        ]

    document = json.loads(shown[1])
    slots = {worker["pid"]: worker["slots"] for worker in document["workers"]}
    assert slots == {first.pid: 2, second.pid: 1}
    assert document["differences"].keys() == {"python"}
    assert f"pid {first.pid}, 2 slots, " in shown[0]
    assert "the workers differ in python: 3." in shown[0]


def test_stress_repeats_on_workers(tmp_path: Path) -> None:
    """Repetitions run on all slots of a place, and failures count as on this machine."""
    with clusters.running(tmp_path, {"one": "exit 3\n"}, workers=2) as site:
        command = ["stress", "one", "--count", "6", "--place", site.address, "--json"]
        ended = subprocess.run(
            [sys.executable, "-m", "isosmoke", *command, "--manifest", "manifest.toml"],
            cwd=site.top,
            env=site.environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    document = json.loads(ended.stdout)
    assert ended.returncode == 1, ended.stderr
    assert (document["jobs"], document["counts"]) == (2, {"FAIL": 6})
