"""Verdicts of a leader, and the runs that produce them."""

from isosmoke.errors import IsosmokeError
from isosmoke.wg_bridge.replies_to_wg import WgReply
from isosmoke.wg_bridge.verdict_server import ReportVerdict, Verdicts


class FakeRuns:
    """Runs in which every scenario passes, with a text that numbers the run."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, names: tuple[str, ...], report: ReportVerdict) -> None:
        self.asked.append(names)
        for name in names:
            report(name, WgReply(0, f"{name} of run {len(self.asked)}"))


def test_announced_scenarios_run_with_the_first() -> None:
    """The first request starts one run for all announced scenarios, beginning with its own."""
    runs = FakeRuns()
    verdicts = Verdicts(runs, ahead=("one", "two", "three"))

    replies = [verdicts.hand_out(name).text for name in ("two", "three", "one")]

    assert runs.asked == [("two", "one", "three")]
    assert replies == ["two of run 1", "three of run 1", "one of run 1"]


def test_unannounced_scenario_runs_on_request() -> None:
    """A wrong or missing announcement only costs time."""
    runs = FakeRuns()
    verdicts = Verdicts(runs, ahead=("one",))

    assert verdicts.hand_out("other").text == "other of run 1"
    assert verdicts.hand_out("third").text == "third of run 2"
    assert runs.asked == [("other", "one"), ("third",)]


def test_verdict_is_used_once() -> None:
    """A repeated request gets the verdict of a new run."""
    verdicts = Verdicts(FakeRuns())

    assert verdicts.hand_out("one").text == "one of run 1"
    assert verdicts.hand_out("one").text == "one of run 2"


def test_known_verdicts_need_no_run() -> None:
    """A verdict that is known from the start is returned as it is, and once as well."""
    runs = FakeRuns()
    verdicts = Verdicts(runs, known={"one": WgReply(77, "known")})

    assert verdicts.hand_out("one") == WgReply(77, "known")
    assert runs.asked == []
    assert verdicts.hand_out("one").text == "one of run 1"


def test_failed_run_is_an_error_for_all_scenarios() -> None:
    """Every scenario of a run that raises an error has exit code 125 and the error message."""

    def broken(*_: object) -> None:
        raise IsosmokeError("no engine")

    verdicts = Verdicts(broken, ahead=("two",))

    for name in ("one", "two"):
        assert verdicts.hand_out(name) == WgReply(125, f"ERROR {name}: no engine\n")


def test_scenario_without_verdict_is_an_error() -> None:
    """After an internal error in a run, no request waits forever."""

    def breaks(_: object, report: ReportVerdict) -> None:
        report("one", WgReply(0))
        raise ZeroDivisionError

    verdicts = Verdicts(breaks, ahead=("two",))

    assert verdicts.hand_out("one") == WgReply(0)
    assert verdicts.hand_out("two").code == 125
