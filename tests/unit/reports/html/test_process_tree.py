"""The tree of processes that a scenario left."""

from dataclasses import replace

from isosmoke.reports.html import process_tree
from isosmoke.results.leaks import LeakVerdict, Tolerated
from isosmoke.results.outcome import Exited
from isosmoke.results.records import creation
from isosmoke.results.run_record import ScenarioRecord
from isosmoke.results.run_results import Attempt
from isosmoke.sandbox.survivors import Process
from support import records, result_factories


def make_process(pid: int, ppid: int) -> Process:
    """Return a process with this parent."""
    return replace(records.make_process(f"p{pid}"), pid=pid, ppid=ppid)


def make_leaky(*leaked: Process, tolerated: tuple[Process, ...] = ()) -> ScenarioRecord:
    """Return a scenario that left these processes."""
    verdict = LeakVerdict(leaked, tuple(Tolerated(process, "Known.") for process in tolerated))
    result = result_factories.make_result(Attempt(ending=Exited(0), verdict=verdict))
    return creation.record_scenario(result)


def list_depths(scenario: ScenarioRecord) -> list[tuple[int, int]]:
    """Return the pid and the depth of each process of the tree."""
    return [(node.pid, node.depth) for node in process_tree.build_tree(scenario)]


def test_child_follows_its_parent() -> None:
    """Siblings keep their order, and an orphan is a root of its own tree."""
    scenario = make_leaky(*(make_process(*ids) for ids in ((9, 7), (7, 1), (8, 9), (6, 7), (5, 1))))

    assert list_depths(scenario) == [(7, 0), (9, 1), (8, 2), (6, 1), (5, 0)]
    assert [node.is_orphan for node in process_tree.build_tree(scenario)] == [
        *(True, False, False, False, True)
    ]


def test_leak_below_an_allowed_process_is_in_its_tree() -> None:
    """An allowed process is marked with the reason."""
    scenario = make_leaky(make_process(8, 7), tolerated=(make_process(7, 1),))
    nodes = process_tree.build_tree(scenario)

    assert [(node.pid, node.depth, node.allowed) for node in nodes] == [
        (7, 0, "Known."),
        (8, 1, ""),
    ]


def test_forged_ancestors_are_all_listed() -> None:
    """Processes that are their own ancestors are listed once, without a loop."""
    scenario = make_leaky(*(make_process(*ids) for ids in ((2, 3), (3, 2), (4, 4), (5, 1), (5, 1))))

    assert sorted(list_depths(scenario)) == [(2, 0), (3, 0), (4, 0), (5, 0), (5, 0)]


def test_deep_and_large_trees_are_limited() -> None:
    """A chain of processes stays on the page, and a fork bomb does not fill it."""
    chain = make_leaky(*(make_process(pid, pid - 1) for pid in range(2, 200)))

    assert max(depth for _, depth in list_depths(chain)) == 8
    assert len(list_depths(chain)) == 50
    assert process_tree.count_left_out(chain) == 148


def test_facts_are_readable() -> None:
    """The parent, the state and the sockets are words."""
    (node,) = process_tree.build_tree(make_leaky(make_process(8, 3)))

    assert node.facts == "pid 8 · parent 3 · sleeping · 2.0 s old · in /work · program /bin/x"
    assert node.listens == ("tcp 127.0.0.1:80",)
