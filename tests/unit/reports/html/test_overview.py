"""Sections of the HTML report about several scenarios."""

from isosmoke.reports.html import overview
from isosmoke.reports.html.supplement import NOTHING
from isosmoke.results.leaks import LeakVerdict
from isosmoke.results.outcome import Exited
from isosmoke.results.run_results import Attempt, ScenarioResult
from support import records, result_factories


def make_timed(name: str, seconds: float) -> ScenarioResult:
    """Return a pass whose script took this long, of a timeout of 10 s."""
    attempt = Attempt(ending=Exited(0), phases={"create": 0.5, "run": seconds})
    return result_factories.make_result(attempt, name=name, timeout_seconds=10)


def make_leaky(name: str, *commands: tuple[str, ...]) -> ScenarioResult:
    """Return a scenario that left these processes."""
    leaked = tuple(records.make_process(*command) for command in commands)
    attempt = Attempt(ending=Exited(0), verdict=LeakVerdict(leaked))
    return result_factories.make_result(attempt, name=name)


def test_slowest_come_first() -> None:
    """Each is compared with the slowest and with its timeout."""
    run = records.make_record(make_timed("a", 1.5), make_timed("b", 9.5), make_timed("c", 4.5))
    slowest = overview.list_slowest(run, NOTHING)

    assert [(item.name, item.seconds, item.share, item.limit) for item in slowest] == [
        ("b", "10.00", "100.0%", "95%"),
        ("c", "5.00", "50.0%", "45%"),
        ("a", "2.00", "20.0%", "15%"),
    ]
    assert {item.usual for item in slowest} == {""}


def test_a_few_scenarios_have_no_ranking() -> None:
    """Their times are in their rows."""
    assert overview.list_slowest(records.make_record(make_timed("a", 1.0)), NOTHING) == ()


def test_equal_commands_are_one_group() -> None:
    """Numbers such as ports and pids do not distinguish them; the most widespread comes first."""
    groups = overview.list_leak_groups(
        records.make_record(
            make_leaky("a", ("serve", "--port", "81"), ("sleep", "9")),
            make_leaky("b", ("serve", "--port", "82"), ("serve", "--port", "83")),
            make_leaky("c", ("tail", "-f")),
        )
    )

    assert [(item.command, item.processes, item.names) for item in groups] == [
        ("serve --port …", 3, ("a", "b")),
        ("sleep 9", 1, ("a",)),
        ("tail -f", 1, ("c",)),
    ]


def test_group_names_a_limited_number_of_scenarios() -> None:
    """A supervisor that every scenario leaves does not fill the page."""
    run = records.make_record(*(make_leaky(f"s{at}", ("supervise",)) for at in range(40)))
    (group,) = overview.list_leak_groups(run)

    assert (group.scenarios, len(group.names)) == (40, 30)
