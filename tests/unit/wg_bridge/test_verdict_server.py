"""Which verdicts a leader hands out, and when it runs what."""

from isosmoke.errors import IsosmokeError
from isosmoke.wg_bridge.verdict_server import Tell, Verdicts
from isosmoke.wg_bridge.wg_replies import Verdict


class Runs:
    """A run of the tests' own: every scenario passes, in words that count the runs."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, names: tuple[str, ...], tell: Tell) -> None:
        self.asked.append(names)
        for name in names:
            tell(name, Verdict(0, f"{name} of run {len(self.asked)}"))


def test_announced_scenarios_run_with_the_first() -> None:
    """The first that is asked for starts the run, at its head; the others are in it."""
    runs = Runs()
    verdicts = Verdicts(runs, ahead=("one", "two", "three"))

    told = [verdicts.hand_out(name).words for name in ("two", "three", "one")]

    assert runs.asked == [("two", "one", "three")]
    assert told == ["two of run 1", "three of run 1", "one of run 1"]


def test_scenario_that_nobody_announced_runs_when_asked_for() -> None:
    """A hint that was wrong, or missing, costs time and nothing else."""
    runs = Runs()
    verdicts = Verdicts(runs, ahead=("one",))

    assert verdicts.hand_out("other").words == "other of run 1"
    assert verdicts.hand_out("third").words == "third of run 2"
    assert runs.asked == [("other", "one"), ("third",)]


def test_verdict_is_handed_out_once() -> None:
    """Whoever asks again, even the same wg, gets a verdict of a new run."""
    verdicts = Verdicts(Runs())

    assert verdicts.hand_out("one").words == "one of run 1"
    assert verdicts.hand_out("one").words == "one of run 2"


def test_known_verdicts_need_no_run() -> None:
    """What was known from the start is handed out as it is, and once as well."""
    runs = Runs()
    verdicts = Verdicts(runs, known={"one": Verdict(77, "known")})

    assert verdicts.hand_out("one") == Verdict(77, "known")
    assert runs.asked == []
    assert verdicts.hand_out("one").words == "one of run 1"


def test_run_that_cannot_be_tried_is_trouble_for_all() -> None:
    """Every scenario of a run that raises is 125, in the words of the error."""

    def broken(*_: object) -> None:
        raise IsosmokeError("no engine")

    verdicts = Verdicts(broken, ahead=("two",))

    for name in ("one", "two"):
        assert verdicts.hand_out(name) == Verdict(125, f"ERROR {name}: no engine\n")


def test_scenario_that_a_run_lost_is_trouble() -> None:
    """A run that breaks in the middle, or forgets a scenario, leaves nobody waiting."""

    def breaks(_: object, tell: Tell) -> None:
        tell("one", Verdict(0))
        raise ZeroDivisionError

    verdicts = Verdicts(breaks, ahead=("two",))

    assert verdicts.hand_out("one") == Verdict(0)
    assert verdicts.hand_out("two").code == 125
