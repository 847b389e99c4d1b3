"""What wg is told: an exit code of its contract, and lines that it will show."""

from pathlib import Path

import pytest

from isosmoke.errors import IsosmokeError
from isosmoke.results.leaks import Verdict as Survivors
from isosmoke.results.outcome import Broke, Ending, Exited, Signaled, Stopped, TimedOut, Unmet
from isosmoke.results.run_results import Attempt, Captured
from isosmoke.sandbox.processes import Process
from isosmoke.wg_bridge import wg_replies
from isosmoke.wg_bridge.wg_replies import FAIL_LINES, Verdict
from support import result_factories

MANIFEST = Path("/a place/manifest.toml")

CODES: list[tuple[Ending, int]] = [
    (Exited(0), 0),
    (Exited(77), 77),
    (Unmet("no tmux"), 77),
    (Exited(1), 1),
    (Exited(99), 1),
    (Signaled(9), 1),
    (TimedOut(5), 1),
    (Stopped("SIGTERM"), 1),
    (Broke("no daemon"), 125),
]


def of(*attempts: Attempt, assertion: str = "It holds.") -> Verdict:
    """The verdict of a scenario with these attempts."""
    return wg_replies.of(result_factories.result(*attempts, assertion=assertion), MANIFEST)


def left(number: int) -> Survivors:
    """That many processes that were left."""
    return Survivors(
        tuple(
            Process(
                pid=pid, ppid=1, argv=("daemon",), cwd="/", exe="/x", age_seconds=1.0, state="S"
            )
            for pid in range(2, 2 + number)
        )
    )


def said(text: str) -> Captured:
    """An output short enough to be kept whole."""
    return Captured(head=text.encode(), size=len(text.encode()))


@pytest.mark.parametrize(("ending", "code"), CODES)
def test_code_is_of_the_contract_of_wg(ending: Ending, code: int) -> None:
    """Only a pass is 0 and only a skip is 77; whatever is wrong with the engine is 125."""
    assert of(Attempt(ending=ending)).code == code


@pytest.mark.parametrize("ending", [Exited(0), Exited(77)])
def test_leak_is_a_failure(ending: Ending) -> None:
    """Whoever leaves a process neither passes nor skips."""
    assert of(Attempt(ending=ending, verdict=left(1))).code == 1


def test_pass_after_a_failure_is_a_pass() -> None:
    """What failed beside others and passed alone lets the task by."""
    assert of(Attempt(ending=Exited(1), alone=False), Attempt(ending=Exited(0))) == Verdict(0)


def test_failure_fits_what_wg_shows() -> None:
    """With leaks, retries and much output it is twelve lines, the last how to repeat it."""
    attempt = Attempt(
        ending=Exited(3),
        verdict=left(9),
        output=said("".join(f"line {number}\n" for number in range(50))),
        log=Path("/log"),
    )

    lines = of(attempt, attempt).words.splitlines()

    assert len(lines) == FAIL_LINES
    assert lines[0].startswith("FAIL one: exit 3")
    assert lines[6] == "left: 6 more"
    assert lines[-3:-1] == ["| line 49", "log: /log"]
    assert lines[-1] == "repeat: isosmoke run --manifest '/a place/manifest.toml' one"


def test_skip_fits_what_wg_shows() -> None:
    """Its reason first, then what is not shown to hold."""
    lines = of(Attempt(ending=Unmet("no tmux"))).words.splitlines()

    assert [line.strip() for line in lines] == ["no tmux", "not shown: It holds."]


def test_output_steers_no_terminal() -> None:
    """Control characters of a script arrive as visible text."""
    words = of(Attempt(ending=Exited(1), output=said("\x1b[2J\n"))).words

    assert "\x1b" not in words
    assert "| \\x1b[2J" in words


def test_trouble_names_scenario_and_remedy() -> None:
    """An error is told with its hint, each of its lines by itself, and is never a skip."""
    told = wg_replies.trouble("one", IsosmokeError("no engine\nnone at all", hint="install one"))

    assert told.code == 125
    assert told.words.splitlines() == ["ERROR one: no engine", "none at all", "try: install one"]


def test_verdicts_survive_being_written() -> None:
    """What a leader is given to start with is what was known."""
    known = {"one": Verdict(0), "two": Verdict(1, 'FAIL "two"\nä\n')}

    assert wg_replies.loaded(wg_replies.dumped(known)) == known
