"""The runner's side of a conversation, with a keeper that is played by a script of replies."""

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath

import pytest

from isosmoke.errors import EngineError
from isosmoke.interrupt import Interrupt
from isosmoke.keeper import protocol
from isosmoke.keeper.client import (
    PROBE_BYTES,
    Conversation,
    KeeperGoneError,
    RefusedError,
    StoppedError,
)
from isosmoke.keeper.protocol import Output, frame
from isosmoke.sandbox.processes import Usage

NEVER = Interrupt()
SOON = 60.0
"""Long enough never to be waited for: what is asked for is there already."""

READY = frame(b"R", protocol.VERSION.encode())
EMPTY = frame(b"0", b"")
STILL, NOT_STILL = frame(b"F", b"1"), frame(b"F", b"0")
LISTED = frame(b"L", b"1000.0 3.0\n")


def exited(status: int) -> bytes:
    """The frame of a script that ended."""
    return frame(b"X", struct.pack(">I", status))


def listed(*states: tuple[int, str]) -> bytes:
    """The frames of a list of processes in these states."""
    return b"".join(starting(pid, state) for pid, state in states) + LISTED


def starting(pid: int, state: str, inode: str = "") -> bytes:
    """The frame of one process that started with the machine."""
    stat = f"{pid} (sleep) {state} 1 {'0 ' * 17}0 0".encode()
    return process(stat, inode)


def process(stat: bytes, inode: str = "") -> bytes:
    """The frame of one process with this line of `/proc`."""
    parts = (stat, b"sleep\x009\0", b"/", b"/bin/sleep", inode.encode())
    return frame(b"P", b"".join(struct.pack(">I", len(part)) + part for part in parts))


class Keeper:
    """The other end of the channel: it answers the next command with the next reply."""

    def __init__(self, *replies: bytes) -> None:
        self._runner, self._own = socket.socketpair()
        self._replies = list(replies)
        self.commands: list[bytes] = []

    def says(self, content: bytes) -> None:
        """Send this now."""
        self._own.sendall(content)

    def hangs_up(self) -> None:
        """End the channel."""
        self._own.shutdown(socket.SHUT_WR)

    def fileno(self) -> int:
        return self._runner.fileno()

    def read(self) -> bytes:
        return self._runner.recv(1 << 16)

    def outlet(self) -> int:
        return self._runner.fileno()

    def write(self, content: bytes) -> int:
        self.commands.append(content)
        if self._replies:
            self.says(self._replies.pop(0))
        return len(content)

    def close(self) -> None:
        """Give both ends back."""
        self._runner.close()
        self._own.close()


Make = Callable[..., Keeper]


@pytest.fixture
def make_keeper() -> Iterator[Make]:
    """Makes keepers that are given back at the end."""
    made: list[Keeper] = []

    def make(*replies: bytes) -> Keeper:
        made.append(Keeper(*replies))
        return made[-1]

    yield make
    for one in made:
        one.close()


def talk(
    keeper: Keeper, sink: Callable[[Output], object] = print, interrupt: Interrupt = NEVER
) -> Conversation:
    """A conversation with this keeper."""
    return Conversation(keeper, sink=sink, interrupt=interrupt)


def test_keeper_of_the_same_version_is_ready(make_keeper: Make) -> None:
    """A keeper that speaks our version is accepted, also when its words come in pieces."""
    keeper = make_keeper()
    keeper.says(READY[:3])
    threading.Thread(target=keeper.says, args=[READY[3:]]).start()

    talk(keeper).ready(SOON)


def test_keeper_of_another_version_is_refused(make_keeper: Make) -> None:
    """A keeper of another version is an engine error that names both versions and the way out."""
    keeper = make_keeper()
    keeper.says(frame(b"R", b"999"))
    with pytest.raises(EngineError, match="999") as caught:
        talk(keeper).ready(SOON)

    assert protocol.VERSION in caught.value.message
    assert caught.value.hint


def test_keeper_that_is_not_up_in_time_is_an_engine_error(make_keeper: Make) -> None:
    """A sandbox that never comes up is told with the time it was given."""
    with pytest.raises(EngineError, match="not up within 0 s"):
        talk(make_keeper()).ready(0)


def test_go_is_sent_as_the_protocol_says(make_keeper: Make) -> None:
    """What the script is started with reaches the keeper in one command."""
    keeper = make_keeper()
    folder = PurePosixPath("/work")
    talk(keeper).go(["true"], folder, {"A": "1"}, processes=4, open_files=None)

    assert keeper.commands == [protocol.go(["true"], folder, {"A": "1"}, processes=4)]


def test_signals_are_sent_at_once(make_keeper: Make) -> None:
    """Asking a script to end, and ending it, wait for no answer."""
    keeper = make_keeper()
    talk(keeper).term()
    talk(keeper).kill()

    assert keeper.commands == [protocol.TERM, protocol.KILL]


@pytest.mark.parametrize("status", [0, 77 << 8, 143 << 8, 15, 9])
def test_exit_status_is_told_raw(make_keeper: Make, status: int) -> None:
    """The wait status comes through as it is, so that exit 143 is not SIGTERM."""
    keeper = make_keeper()
    keeper.says(exited(status))

    assert talk(keeper).exited(SOON) == status


def test_deadline_without_an_ending_is_none(make_keeper: Make) -> None:
    """A script that does not end by the deadline has no status; what it said is kept."""
    keeper, heard = make_keeper(), list[Output]()
    conversation = talk(keeper, heard.append)
    keeper.says(frame(b"o", b"busy"))

    assert conversation.exited(0) is None
    assert conversation.exited(0.01) is None
    assert heard == [Output("stdout", b"busy")]


def test_ending_that_came_in_time_counts_however_late_it_is_read(make_keeper: Make) -> None:
    """A runner that was held up does not make a timeout of a script that had ended."""
    keeper = make_keeper()
    keeper.says(exited(0) + EMPTY)
    conversation = talk(keeper)

    assert conversation.exited(0) == 0
    assert conversation.empty(0)


def test_flood_of_output_does_not_outlast_the_deadline(make_keeper: Make) -> None:
    """A script that never stops printing is still over at its deadline."""
    keeper = make_keeper()
    full = threading.Event()

    def flood(_: Output) -> None:
        keeper.says(frame(b"o", b"more"))
        full.set()

    keeper.says(frame(b"o", b"first"))

    assert talk(keeper, flood).exited(0.01) is None
    assert full.is_set()


def test_ending_after_the_deadline_is_still_told(make_keeper: Make) -> None:
    """An ending that comes after one deadline is there for the next one: the grace period."""
    keeper = make_keeper(exited(15))
    conversation = talk(keeper)

    assert conversation.exited(0) is None
    conversation.term()
    assert conversation.exited(SOON) == 15


def test_output_goes_to_the_sink_in_order(make_keeper: Make) -> None:
    """All that a script printed before its end is heard before the end is told."""
    keeper, heard = make_keeper(), list[Output]()
    keeper.says(frame(b"o", b"one") + frame(b"e", b"two") + frame(b"o", b"three") + exited(0))

    assert talk(keeper, heard.append).exited(SOON) == 0
    assert heard == [
        Output("stdout", b"one"),
        Output("stderr", b"two"),
        Output("stdout", b"three"),
    ]


def test_output_of_what_was_left_goes_to_the_sink(make_keeper: Make) -> None:
    """What a leaked process prints while the keeper is asked is heard, and disturbs nothing."""
    keeper, heard = make_keeper(), list[Output]()
    keeper.says(exited(0) + frame(b"o", b"late") + EMPTY)
    conversation = talk(keeper, heard.append)

    assert conversation.exited(SOON) == 0
    assert heard == []
    assert conversation.empty(SOON)
    assert heard == [Output("stdout", b"late")]


def test_sandbox_that_does_not_empty_is_not_empty(make_keeper: Make) -> None:
    """Where a process goes on, the time to settle passes and the answer is no."""
    keeper = make_keeper()
    keeper.says(exited(0))
    conversation = talk(keeper)
    conversation.exited(SOON)

    assert not conversation.empty(0)


@pytest.mark.parametrize("content", [b"", READY, exited(0)[:-1]], ids=["silent", "up", "mid-word"])
def test_channel_that_ends_early_means_that_the_keeper_is_gone(
    make_keeper: Make, content: bytes
) -> None:
    """A channel that ends before the script does is an engine error, never an ending."""
    keeper = make_keeper()
    keeper.says(content)
    keeper.hangs_up()
    with pytest.raises(KeeperGoneError):
        talk(keeper).exited(SOON)


def test_ending_before_the_channel_ends_is_told(make_keeper: Make) -> None:
    """A status that arrived counts although the channel ended right after it."""
    keeper = make_keeper()
    keeper.says(exited(0))
    keeper.hangs_up()
    conversation = talk(keeper)

    assert conversation.exited(SOON) == 0
    with pytest.raises(KeeperGoneError):
        conversation.empty(SOON)


def test_complaint_of_the_keeper_is_an_engine_error(make_keeper: Make) -> None:
    """What the keeper could not do is told in its own words."""
    keeper = make_keeper()
    keeper.says(frame(b"!", b"bash: No such file or directory"))
    with pytest.raises(EngineError, match="bash: No such file or directory"):
        talk(keeper).exited(SOON)


@pytest.mark.parametrize("content", [frame(b"?", b""), frame(b"X", b"\0"), b"bwrap: oh no, " * 9])
def test_nonsense_is_an_engine_error(make_keeper: Make, content: bytes) -> None:
    """Bytes that are not a keeper's break the sandbox, not isosmoke."""
    keeper = make_keeper()
    keeper.says(content)
    keeper.hangs_up()
    with pytest.raises(EngineError):
        talk(keeper).exited(SOON)


def test_interrupt_ends_the_waiting(make_keeper: Make) -> None:
    """An interrupt that is raised while a script runs ends the wait with its reason."""
    interrupt = Interrupt()
    keeper = make_keeper()
    keeper.says(frame(b"o", b"up"))

    with pytest.raises(StoppedError, match="SIGTERM"):
        talk(keeper, lambda _: interrupt.raise_for("SIGTERM"), interrupt).exited(SOON)


def test_interrupt_raised_before_is_not_missed(make_keeper: Make) -> None:
    """An interrupt wins over whatever there is to read, and stays raised."""
    interrupt, keeper = Interrupt(), make_keeper()
    interrupt.raise_for("SIGINT")
    keeper.says(exited(0))
    conversation = talk(keeper, interrupt=interrupt)

    for _ in range(2):
        with pytest.raises(StoppedError, match="SIGINT"):
            conversation.exited(SOON)


def survivors(keeper: Keeper) -> Mapping[int, str]:
    """The pid of each survivor with its state."""
    return {one.pid: one.state for one in talk(keeper).survivors()}


def test_survivors_are_listed_frozen_and_listed_again(make_keeper: Make) -> None:
    """The list that counts is the one after the freeze."""
    keeper = make_keeper(listed((2, "S"), (3, "R")), STILL, listed((2, "T"), (4, "T")))
    told = survivors(keeper)

    assert keeper.commands == [protocol.LIST, protocol.FREEZE, protocol.LIST]
    assert set(told) == {2, 4}


def test_state_of_a_survivor_is_the_one_before_the_freeze(make_keeper: Make) -> None:
    """A survivor is told asleep, running or stopped by itself, as it was before we stopped it."""
    before = listed((2, "S"), (3, "D"), (4, "T"))
    keeper = make_keeper(before, STILL, listed((2, "T"), (3, "D"), (4, "T")))

    assert survivors(keeper) == {2: "S", 3: "D", 4: "T"}


def test_survivor_born_before_the_freeze_was_running(make_keeper: Make) -> None:
    """A process that only the second list has was started in between, so it was running."""
    assert survivors(make_keeper(LISTED, STILL, listed((9, "T")))) == {9: "R"}


def test_process_that_ends_while_it_is_listed_is_no_survivor(make_keeper: Make) -> None:
    """A process whose line of `/proc` was gone when it was read is in neither list."""
    gone = process(b"")
    keeper = make_keeper(
        gone + listed((2, "S")), STILL, listed((2, "T"))[: -len(LISTED)] + gone + LISTED
    )

    assert survivors(keeper) == {2: "S"}


def test_sandbox_that_cannot_be_frozen_is_an_engine_error(make_keeper: Make) -> None:
    """Where a process escapes the freeze, the list would be a guess: the engine broke."""
    with pytest.raises(EngineError, match="could not be stopped"):
        survivors(make_keeper(listed((2, "R")), NOT_STILL))


def test_listeners_come_from_the_pieces_of_a_table(make_keeper: Make) -> None:
    """A table that is longer than one frame is put together before it is read."""
    text = (
        b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
        b"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0"
        b"        0 41001 1 0000000000000000 100 0 0 10 0\n"
    )
    pieces = b"".join(frame(b"S", b"tcp\0" + part) for part in (text[:120], text[120:]))
    keeper = make_keeper(LISTED, STILL, starting(2, "T", "41001 ") + pieces + LISTED)

    (told,) = talk(keeper).survivors()

    assert told.listens == ("tcp 127.0.0.1:8080",)
    assert told.age_seconds == 1000.0


def test_keeper_that_ends_instead_of_answering_is_gone(make_keeper: Make) -> None:
    """A keeper that dies in the middle of its list is an engine error, not a shorter list."""
    keeper = make_keeper()
    keeper.says(listed((2, "S"), (3, "S"))[: -len(LISTED)])
    keeper.hangs_up()

    with pytest.raises(KeeperGoneError):
        talk(keeper).survivors()


def test_conversation_leaves_the_descriptor_open(make_keeper: Make) -> None:
    """Ending the channel is the engine's business, so a conversation never closes it."""
    keeper = make_keeper()
    keeper.says(exited(0))
    talk(keeper).exited(SOON)

    assert os.fstat(keeper.fileno())


JOB = (("tmux", "capture-pane"), PurePosixPath("/"), {"A": "1"})


def printed(content: bytes) -> bytes:
    """The frame of something that a probe printed."""
    return frame(b"q", content)


def probed(status: int) -> bytes:
    """The frame of a probe that ended."""
    return frame(b"Q", struct.pack(">I", status))


def test_thaw_waits_for_its_answer(make_keeper: Make) -> None:
    """What was frozen goes on before anything else is asked."""
    keeper = make_keeper(frame(b"T", b""))
    talk(keeper).thaw()

    assert keeper.commands == [protocol.THAW]


def test_usage_is_what_the_keeper_counted(make_keeper: Make) -> None:
    """Times are in seconds, memory in bytes."""
    assert talk(make_keeper(frame(b"U", b"10 20 3"))).usage() == Usage(1e-05, 2e-05, 3072)


def test_probe_tells_its_status_and_what_it_printed(make_keeper: Make) -> None:
    """What a probe prints is put together, and nothing of it is taken for the script's."""
    keeper, heard = make_keeper(), list[Output]()
    keeper.says(printed(b"one ") + frame(b"o", b"script") + printed(b"two") + probed(256))

    assert talk(keeper, heard.append).probe(*JOB, SOON) == (256, b"one two")
    assert heard == [Output("stdout", b"script")]
    assert keeper.commands == [protocol.probe(*JOB)]


def test_probe_that_takes_too_long_is_ended(make_keeper: Make) -> None:
    """At its deadline a probe is killed; it has no status then, but what it had printed."""
    keeper = make_keeper(printed(b"begun"), printed(b", ended") + probed(9))

    assert talk(keeper).probe(*JOB, 0.01) == (None, b"begun, ended")
    assert keeper.commands == [protocol.probe(*JOB), protocol.END_PROBE]


def test_probe_that_never_stops_printing_is_ended(make_keeper: Make) -> None:
    """A probe is over at its deadline and bounded in what is kept of it, whatever it prints."""
    keeper = make_keeper()
    conversation = talk(keeper)
    over = threading.Event()

    def flood() -> None:
        while protocol.END_PROBE not in keeper.commands:
            keeper.says(printed(b"x" * 60_000))
        keeper.says(probed(9))
        over.set()

    thread = threading.Thread(target=flood)
    thread.start()
    status, kept = conversation.probe(*JOB, 0.05)
    thread.join()

    assert over.is_set()
    assert status is None
    assert 0 < len(kept) <= PROBE_BYTES


class Slow(Keeper):
    """A keeper behind a real channel: it takes what fits into that."""

    def write(self, content: bytes) -> int:
        try:
            return self._runner.send(content, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0

    def takes(self, size: int) -> bytes:
        """So much of what was sent to it, once that is there."""
        return self._own.recv(size, socket.MSG_WAITALL)


@pytest.fixture
def slow() -> Iterator[Slow]:
    """A keeper that does not listen by itself."""
    keeper = Slow()
    yield keeper
    keeper.close()


def test_keeper_is_heard_while_a_long_command_is_sent(slow: Slow) -> None:
    """It may have to say more than the channel holds before it listens: neither waits for ever."""
    command, said = b"x" * 4_000_000, b"y" * 4_000_000
    heard: list[Output] = []
    taken: list[bytes] = []

    def speak_first() -> None:
        slow.says(frame(b"o", said) + exited(0))
        taken.append(slow.takes(len(command)))

    thread = threading.Thread(target=speak_first)
    thread.start()
    conversation = talk(slow, heard.append)
    conversation.send(command)
    thread.join()

    assert taken == [command]
    assert conversation.exited(SOON) == 0
    assert b"".join(one.content for one in heard) == said


def test_keeper_that_never_listens_is_an_engine_error(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sending has a deadline of its own, whoever stopped the other end."""
    monkeypatch.setattr("isosmoke.keeper.client.ANSWER_SECONDS", 0.01)
    with pytest.raises(EngineError, match=r"did not listen within 0\.01 s"):
        talk(slow).send(b"x" * 4_000_000)


def test_interrupt_ends_the_sending(slow: Slow) -> None:
    """A keeper that does not listen keeps nobody from stopping the run."""
    interrupt = Interrupt()
    interrupt.raise_for("SIGINT")
    with pytest.raises(StoppedError, match="SIGINT"):
        talk(slow, interrupt=interrupt).send(b"x" * 4_000_000)


def test_probe_that_cannot_be_started_is_refused(make_keeper: Make) -> None:
    """A refusal is told in the keeper's words, and the conversation goes on after it."""
    keeper = make_keeper(frame(b"N", b"starting the probe: Resource temporarily unavailable"))
    conversation = talk(keeper)
    with pytest.raises(RefusedError, match="temporarily unavailable"):
        conversation.probe(*JOB, SOON)

    keeper.says(exited(0))
    assert conversation.exited(SOON) == 0


def test_script_that_ends_during_a_probe_is_told_afterwards(make_keeper: Make) -> None:
    """The script's end and the emptiness of its sandbox are not lost while a probe goes on."""
    keeper = make_keeper(exited(0) + probed(0) + EMPTY)
    conversation = talk(keeper)

    assert conversation.probe(*JOB, SOON) == (0, b"")
    assert conversation.exited(SOON) == 0
    assert conversation.empty(SOON)
