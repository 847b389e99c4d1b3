"""Replies to wg: exit codes of its contract, and lines that it displays."""

from pathlib import Path

import pytest

from isosmoke.errors import IsosmokeError
from isosmoke.results.leaks import LeakVerdict as Survivors
from isosmoke.results.outcome import (
    Broke,
    Ending,
    Exited,
    MissingRequirement,
    Signaled,
    Stopped,
    TimedOut,
)
from isosmoke.results.run_results import Attempt, CapturedOutput
from isosmoke.sandbox.survivors import Process
from isosmoke.wg_bridge import replies_to_wg
from isosmoke.wg_bridge.replies_to_wg import FAIL_LINES, WgReply
from support import result_factories

MANIFEST = Path("/a place/manifest.toml")

CODES: list[tuple[Ending, int]] = [
    (Exited(0), 0),
    (Exited(77), 77),
    (MissingRequirement("no tmux"), 77),
    (Exited(1), 1),
    (Exited(99), 1),
    (Signaled(9), 1),
    (TimedOut(5), 1),
    (Stopped("SIGTERM"), 1),
    (Broke("no daemon"), 125),
]


def create_reply(*attempts: Attempt, assertion: str = "It holds.") -> WgReply:
    """Return the reply for a scenario with these attempts."""
    return replies_to_wg.create_reply(
        result_factories.make_result(*attempts, assertion=assertion), MANIFEST
    )


def create_leaks(number: int) -> Survivors:
    """Return a verdict with this number of leaked processes."""
    return Survivors(
        tuple(
            Process(
                pid=pid, ppid=1, argv=("daemon",), cwd="/", exe="/x", age_seconds=1.0, state="S"
            )
            for pid in range(2, 2 + number)
        )
    )


def capture(text: str) -> CapturedOutput:
    """Return an output that is short enough to be captured whole."""
    return CapturedOutput(head=text.encode(), size=len(text.encode()))


@pytest.mark.parametrize(("ending", "code"), CODES)
def test_exit_code_follows_contract_of_wg(ending: Ending, code: int) -> None:
    """Only a pass is 0, only a skip is 77, and an engine error is 125."""
    assert create_reply(Attempt(ending=ending)).code == code


@pytest.mark.parametrize("ending", [Exited(0), Exited(77)])
def test_leak_is_a_failure(ending: Ending) -> None:
    """A scenario that leaks a process neither passes nor skips."""
    assert create_reply(Attempt(ending=ending, verdict=create_leaks(1))).code == 1


def test_pass_after_a_failure_is_a_pass() -> None:
    """A flaky scenario does not block the task."""
    assert create_reply(
        Attempt(ending=Exited(1), alone=False), Attempt(ending=Exited(0))
    ) == WgReply(0)


def test_failure_fits_lines_displayed_by_wg() -> None:
    """With leaks, retries and long output it has twelve lines, the last with the repeat command."""
    attempt = Attempt(
        ending=Exited(3),
        verdict=create_leaks(9),
        output=capture("".join(f"line {number}\n" for number in range(50))),
        log=Path("/log"),
    )

    lines = create_reply(attempt, attempt).text.splitlines()

    assert len(lines) == FAIL_LINES
    assert lines[0].startswith("FAIL one: exit 3")
    assert lines[6] == "leaked: 6 more"
    assert lines[-3:-1] == ["| line 49", "log: /log"]
    assert lines[-1] == "repeat: isosmoke run --manifest '/a place/manifest.toml' one"


def test_skip_fits_lines_displayed_by_wg() -> None:
    """The reason comes first, then the assertion that was not verified."""
    lines = create_reply(Attempt(ending=MissingRequirement("no tmux"))).text.splitlines()

    assert [line.strip() for line in lines] == ["no tmux", "not verified: It holds."]


def test_output_cannot_control_the_terminal() -> None:
    """Control characters in output are made visible."""
    text = create_reply(Attempt(ending=Exited(1), output=capture("\x1b[2J\n"))).text

    assert "\x1b" not in text
    assert "| \\x1b[2J" in text


def test_error_names_scenario_and_hint() -> None:
    """The reply has each line of the error, then the hint, and is never a skip."""
    reply = replies_to_wg.create_error_reply(
        "one", IsosmokeError("no engine\nnone at all", hint="install one")
    )

    assert reply.code == 125
    assert reply.text.splitlines() == ["ERROR one: no engine", "none at all", "try: install one"]


def test_verdicts_survive_round_trip() -> None:
    """A leader starts with exactly the known verdicts."""
    known = {"one": WgReply(0), "two": WgReply(1, 'FAIL "two"\nä\n')}

    assert replies_to_wg.load_replies(replies_to_wg.dump_replies(known)) == known
