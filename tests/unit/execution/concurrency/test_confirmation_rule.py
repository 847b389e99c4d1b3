"""The rule on confirmations: only a complete and quiet measurement makes a failure count."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.execution.concurrency.confirmation_rule import find_doubts
from isosmoke.manifest.models import Scenario
from isosmoke.results.machine_load import Load, is_about_capacity
from isosmoke.results.outcome import Broke, Ending, Exited, TimedOut
from isosmoke.results.run_results import Attempt, CapturedOutput

QUIET = Load(
    seconds=2.0,
    cpu_wait=0.01,
    memory_wait=0.0,
    io_wait=0.02,
    sockets=(),
    connections=0,
    killed=0,
    free_memory=0.6,
    free_disk=20 << 30,
    used_disk=1 << 20,
)
FAILED = Attempt(ending=Exited(1), alone=False)


def scenario(**keys: Any) -> Scenario:
    """Return a scenario with these keys."""
    return Scenario.validate({"name": "one", "script": "one.sh", **keys})


def list_kinds(load: Load | None, attempt: Attempt = FAILED, **keys: Any) -> list[str]:
    """Return the kinds of doubts about a failure."""
    return [doubt.kind for doubt in find_doubts(scenario(**keys), attempt, load)]


def forget(load: Load, name: str) -> Load:
    """Return a load without one of its measurements."""
    unknown: dict[str, Any] = {name: None}
    return replace(load, **unknown)


def test_failure_on_a_quiet_machine_leaves_no_doubt() -> None:
    """If everything was measured and nothing was short, no neighbour was the cause."""
    assert list_kinds(QUIET) == []


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"cpu_wait": 0.06}, "cpu"),
        ({"memory_wait": 0.06}, "memory"),
        ({"io_wait": 0.06}, "io"),
        ({"sockets": ("tcp 127.0.0.1:8080",)}, "network"),
        ({"sockets": ("unix @name",)}, "network"),
        ({"connections": 1}, "network"),
        ({"killed": 1}, "space"),
        ({"free_memory": 0.09}, "space"),
        ({"free_disk": 1 << 29}, "space"),
        ({"used_disk": 1 << 30}, "space"),
    ],
)
def test_each_shortage_is_a_doubt(change: dict[str, Any], kind: str) -> None:
    """Each resource that may have been short, or shared, is one doubt."""
    assert list_kinds(replace(QUIET, **change)) == [kind]


@pytest.mark.parametrize("name", [field.name for field in fields(Load) if field.name != "seconds"])
def test_what_was_not_measured_counts_as_possible(name: str) -> None:
    """Without any one of the measurements, the failure has to be confirmed."""
    assert "unmeasured" in list_kinds(forget(QUIET, name))


def test_no_measurement_at_all_is_a_doubt() -> None:
    """An engine on another machine tells nothing about its load."""
    assert list_kinds(None) == ["unmeasured"]


@pytest.mark.parametrize(
    ("ending", "kind"), [(TimedOut(9), "deadline"), (Broke("no sandbox"), "engine")]
)
def test_ending_can_be_a_doubt(ending: Ending, kind: str) -> None:
    """A missed deadline and a broken sandbox may always be the effect of a neighbour."""
    assert list_kinds(QUIET, replace(FAILED, ending=ending)) == [kind]


def test_long_scenario_may_wait_a_small_share_of_its_time() -> None:
    """The harmless wait grows with the duration, but stays a small share of it."""
    long = replace(QUIET, seconds=60.0)

    assert list_kinds(replace(long, cpu_wait=0.59)) == []
    assert list_kinds(replace(long, cpu_wait=0.61)) == ["cpu"]


def test_short_scenario_may_not_wait_all_of_its_time() -> None:
    """A wait that is harmless for a longer scenario can be most of the time of a short one."""
    short = replace(QUIET, seconds=0.04, memory_wait=0.0, io_wait=0.0)

    assert list_kinds(replace(short, cpu_wait=0.007)) == []
    assert list_kinds(replace(short, cpu_wait=0.009)) == ["cpu"]


def test_isolated_network_shares_no_ports() -> None:
    """The use of the host's network, even if unknown, does not reach an isolated one."""
    busy = replace(QUIET, sockets=("tcp 127.0.0.1:8080",), connections=None)

    assert list_kinds(busy, network="isolated") == []


@pytest.mark.parametrize(
    "keys",
    [
        {"requires": {"endpoints": ["http://localhost:1"]}},
        {"services": [{"name": "db", "image": "db"}]},
        {"pass_env": ["TOKEN"]},
        {"pass_files": ["/key.pem"]},
    ],
)
def test_what_is_outside_the_sandbox_is_a_doubt(keys: dict[str, Any]) -> None:
    """An endpoint, a service or an account can be one that a neighbour used too."""
    assert list_kinds(QUIET, **keys) == ["outside"]


@pytest.mark.parametrize(
    "line",
    [
        "bind: Address already in use",
        "OSError: [Errno 98] Address in use",
        "bash: fork: retry: Resource temporarily unavailable",
        "cp: error writing 'x': No space left on device",
        "inotify_init: Too many open files",
        "listen EADDRINUSE: 127.0.0.1:80",
    ],
)
@pytest.mark.parametrize("stream", ["output", "stderr"])
def test_output_about_a_resource_that_ran_out_is_a_doubt(line: str, stream: str) -> None:
    """A script can say what no measurement between two samples shows."""
    captured = CapturedOutput(head=b"first\n", tail=line.encode(), size=1 << 20)
    change: dict[str, Any] = {stream: captured}

    assert list_kinds(QUIET, replace(FAILED, **change)) == ["exhausted"]


@given(
    st.builds(
        Load,
        seconds=st.floats(0, 1e4),
        **dict.fromkeys(("cpu_wait", "memory_wait", "io_wait"), st.none() | st.floats(0, 1e4)),
        sockets=st.none() | st.lists(st.text(), max_size=2).map(tuple),
        connections=st.none() | st.integers(0, 9),
        killed=st.none() | st.integers(0, 2),
        free_memory=st.none() | st.floats(0, 1),
        free_disk=st.none() | st.integers(0, 1 << 40),
        used_disk=st.none() | st.integers(-(1 << 30), 1 << 40),
    )
)
def test_less_knowledge_never_removes_the_last_doubt(load: Load) -> None:
    """The rule errs in one direction: forgetting a measurement never makes a failure count."""
    names = [field.name for field in fields(Load) if field.name != "seconds"]
    forgotten = (forget(load, name) for name in names)

    assert all(list_kinds(less) for less in forgotten)
    has_gap = any(getattr(load, name) is None for name in names)
    assert list_kinds(load) or not has_gap


def test_only_shared_capacity_can_be_confirmed_in_company() -> None:
    """Quiet company leaves CPUs, memory and disks free, but may use the same port."""
    tired = find_doubts(scenario(), FAILED, replace(QUIET, cpu_wait=1.0, io_wait=1.0))
    connected = find_doubts(scenario(), FAILED, replace(QUIET, cpu_wait=1.0, connections=1))

    assert is_about_capacity(tired)
    assert not is_about_capacity(connected)
