"""The keeper's client, with a fake keeper that sends prepared replies."""

import os
import socket
import struct
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import PurePosixPath

import pytest

from isosmoke.errors import EngineError
from isosmoke.interrupt import Interrupt
from isosmoke.keeper import events, protocol
from isosmoke.keeper.client import PROBE_BYTES, Conversation
from isosmoke.keeper.events import Output
from isosmoke.keeper.exchange import BrokenError, KeeperGoneError, RefusedError, StoppedError
from isosmoke.keeper.protocol import encode_frame
from isosmoke.sandbox.survivors import Usage

NEVER = Interrupt()
SOON = 60.0
"""A time limit in seconds that is never reached, because the answer is already there."""

READY = encode_frame(b"R", protocol.VERSION.encode())
EMPTY = encode_frame(b"0", b"")
STILL, NOT_STILL = encode_frame(b"F", b"1"), encode_frame(b"F", b"0")
LISTED = encode_frame(b"L", b"1000.0 3.0\n")


def encode_exit(status: int) -> bytes:
    """Return the frame of a script that ended."""
    return encode_frame(b"X", struct.pack(">I", status))


def encode_list(*states: tuple[int, str]) -> bytes:
    """Return the frames of a list of processes in these states."""
    return b"".join(encode_sleep(pid, state) for pid, state in states) + LISTED


def encode_sleep(pid: int, state: str, inode: str = "") -> bytes:
    """Return the frame of a `sleep` that started when the machine did."""
    stat = f"{pid} (sleep) {state} 1 {'0 ' * 17}0 0".encode()
    return encode_process(stat, inode)


def encode_process(stat: bytes, inode: str = "") -> bytes:
    """Return the frame of one process with this line of `/proc`."""
    parts = (stat, b"sleep\x009\0", b"/", b"/bin/sleep", inode.encode())
    return encode_frame(b"P", b"".join(struct.pack(">I", len(part)) + part for part in parts))


class Keeper:
    """The other end of the channel, which answers each command with the next reply."""

    def __init__(self, *replies: bytes) -> None:
        self._runner, self._own = socket.socketpair()
        self._replies = list(replies)
        self.commands: list[bytes] = []

    def send(self, content: bytes) -> None:
        """Send bytes to the client."""
        self._own.sendall(content)

    def hang_up(self) -> None:
        """End the channel."""
        self._own.shutdown(socket.SHUT_WR)

    def fileno(self) -> int:
        return self._runner.fileno()

    def read(self) -> bytes:
        return self._runner.recv(1 << 16)

    def write_fileno(self) -> int:
        return self._runner.fileno()

    def write(self, content: bytes) -> int:
        self.commands.append(content)
        if self._replies:
            self.send(self._replies.pop(0))
        return len(content)

    def close(self) -> None:
        """Close both ends."""
        self._runner.close()
        self._own.close()


Make = Callable[..., Keeper]


@pytest.fixture
def make_keeper() -> Iterator[Make]:
    """Create keepers that are closed at the end of the test."""
    keepers: list[Keeper] = []

    def make(*replies: bytes) -> Keeper:
        keepers.append(Keeper(*replies))
        return keepers[-1]

    yield make
    for keeper in keepers:
        keeper.close()


def talk(
    keeper: Keeper, sink: Callable[[Output], object] = print, interrupt: Interrupt = NEVER
) -> Conversation:
    """Return a conversation with this keeper."""
    return Conversation(keeper, sink=sink, interrupt=interrupt)


def test_keeper_of_the_same_version_is_ready(make_keeper: Make) -> None:
    """A keeper with isosmoke's version is accepted, even if its frame arrives in pieces."""
    keeper = make_keeper()
    keeper.send(READY[:3])
    threading.Thread(target=keeper.send, args=[READY[3:]]).start()

    talk(keeper).wait_until_ready(SOON)


def test_keeper_of_another_version_is_refused(make_keeper: Make) -> None:
    """A keeper of another version is an engine error with both versions and a hint."""
    keeper = make_keeper()
    keeper.send(encode_frame(b"R", b"999"))
    with pytest.raises(EngineError, match="999") as caught:
        talk(keeper).wait_until_ready(SOON)

    assert protocol.VERSION in caught.value.message
    assert caught.value.hint


def test_keeper_that_does_not_start_in_time_is_an_engine_error(make_keeper: Make) -> None:
    """The error of a sandbox that never starts names the time limit."""
    with pytest.raises(EngineError, match="did not start within 0 s"):
        talk(make_keeper()).wait_until_ready(0)


def test_script_is_started_with_one_command(make_keeper: Make) -> None:
    """Arguments, directory, environment and limits reach the keeper in one command."""
    keeper = make_keeper()
    directory = PurePosixPath("/work")
    talk(keeper).start_script(["true"], directory, {"A": "1"}, processes=4, open_files=None)

    assert keeper.commands == [protocol.encode_go(["true"], directory, {"A": "1"}, processes=4)]


def test_signals_wait_for_no_answer(make_keeper: Make) -> None:
    """SIGTERM and SIGKILL are sent without waiting for an answer."""
    keeper = make_keeper()
    talk(keeper).terminate()
    talk(keeper).kill()

    assert keeper.commands == [protocol.TERM, protocol.KILL]


@pytest.mark.parametrize("status", [0, 77 << 8, 143 << 8, 15, 9])
def test_exit_status_is_raw(make_keeper: Make, status: int) -> None:
    """The wait status is returned unchanged, so exit code 143 differs from SIGTERM."""
    keeper = make_keeper()
    keeper.send(encode_exit(status))

    assert talk(keeper).wait_for_exit(SOON) == status


def test_script_that_still_runs_at_the_deadline_has_no_status(make_keeper: Make) -> None:
    """A script that does not end by the deadline has no status; its output is kept."""
    keeper, outputs = make_keeper(), list[Output]()
    conversation = talk(keeper, outputs.append)
    keeper.send(encode_frame(b"o", b"busy"))

    assert conversation.wait_for_exit(0) is None
    assert conversation.wait_for_exit(0.01) is None
    assert outputs == [Output("stdout", b"busy")]


def test_ending_that_arrived_in_time_counts_even_if_read_later(make_keeper: Make) -> None:
    """A delayed runner does not turn a script that has ended into a timeout."""
    keeper = make_keeper()
    keeper.send(encode_exit(0) + EMPTY)
    conversation = talk(keeper)

    assert conversation.wait_for_exit(0) == 0
    assert conversation.wait_until_empty(0)


def test_endless_output_does_not_extend_the_deadline(make_keeper: Make) -> None:
    """A script that never stops printing still times out at its deadline."""
    keeper = make_keeper()
    full = threading.Event()

    def flood(_: Output) -> None:
        keeper.send(encode_frame(b"o", b"more"))
        full.set()

    keeper.send(encode_frame(b"o", b"first"))

    assert talk(keeper, flood).wait_for_exit(0.01) is None
    assert full.is_set()


def test_ending_after_the_deadline_is_returned_later(make_keeper: Make) -> None:
    """An ending after one deadline is returned by the next wait, such as the grace period."""
    keeper = make_keeper(encode_exit(15))
    conversation = talk(keeper)

    assert conversation.wait_for_exit(0) is None
    conversation.terminate()
    assert conversation.wait_for_exit(SOON) == 15


def test_output_goes_to_the_sink_in_order(make_keeper: Make) -> None:
    """Output before the script's end reaches the sink before the end is reported."""
    keeper, outputs = make_keeper(), list[Output]()
    keeper.send(
        encode_frame(b"o", b"one")
        + encode_frame(b"e", b"two")
        + encode_frame(b"o", b"three")
        + encode_exit(0)
    )

    assert talk(keeper, outputs.append).wait_for_exit(SOON) == 0
    assert outputs == [
        Output("stdout", b"one"),
        Output("stderr", b"two"),
        Output("stdout", b"three"),
    ]


def test_output_of_survivors_goes_to_the_sink(make_keeper: Make) -> None:
    """Output of a leaked process during a request reaches the sink and disturbs nothing."""
    keeper, outputs = make_keeper(), list[Output]()
    keeper.send(encode_exit(0) + encode_frame(b"o", b"late") + EMPTY)
    conversation = talk(keeper, outputs.append)

    assert conversation.wait_for_exit(SOON) == 0
    assert outputs == []
    assert conversation.wait_until_empty(SOON)
    assert outputs == [Output("stdout", b"late")]


def test_sandbox_with_a_running_process_is_not_empty(make_keeper: Make) -> None:
    """If a process still runs after the settle time, the sandbox is not empty."""
    keeper = make_keeper()
    keeper.send(encode_exit(0))
    conversation = talk(keeper)
    conversation.wait_for_exit(SOON)

    assert not conversation.wait_until_empty(0)


@pytest.mark.parametrize(
    "content", [b"", READY, encode_exit(0)[:-1]], ids=["silent", "ready", "mid-frame"]
)
def test_channel_that_ends_early_is_an_engine_error(make_keeper: Make, content: bytes) -> None:
    """A channel that ends before the script does is an engine error, never an ending."""
    keeper = make_keeper()
    keeper.send(content)
    keeper.hang_up()
    with pytest.raises(KeeperGoneError):
        talk(keeper).wait_for_exit(SOON)


def test_ending_before_the_end_of_the_channel_counts(make_keeper: Make) -> None:
    """A status that has arrived counts even if the channel ends right after it."""
    keeper = make_keeper()
    keeper.send(encode_exit(0))
    keeper.hang_up()
    conversation = talk(keeper)

    assert conversation.wait_for_exit(SOON) == 0
    with pytest.raises(KeeperGoneError):
        conversation.wait_until_empty(SOON)


def test_failure_of_the_keeper_is_an_engine_error(make_keeper: Make) -> None:
    """The error contains the keeper's own message."""
    keeper = make_keeper()
    keeper.send(encode_frame(b"!", b"bash: No such file or directory"))
    with pytest.raises(EngineError, match="bash: No such file or directory"):
        talk(keeper).wait_for_exit(SOON)


@pytest.mark.parametrize("code", [126, 127])
def test_command_that_cannot_be_executed_exits_as_in_a_shell(make_keeper: Make, code: int) -> None:
    """The reason is part of its stderr."""
    keeper, outputs = make_keeper(), list[Output]()
    keeper.send(encode_frame(b"!", b"nosuch: No such file or directory"))
    keeper.send(encode_exit(code << 8))
    conversation = talk(keeper, outputs.append)
    with pytest.raises(BrokenError) as caught:
        conversation.wait_for_exit(SOON)

    assert conversation.wait_for_unexecuted(caught.value) == code << 8
    assert outputs == [Output("stderr", b"nosuch: No such file or directory\n")]


@pytest.mark.parametrize("frames", [encode_exit(125 << 8), b""])
def test_other_failure_of_a_start_is_an_engine_error(make_keeper: Make, frames: bytes) -> None:
    """A failure before the execution, and the end of the keeper, say nothing about the command."""
    keeper = make_keeper()
    keeper.send(frames)
    keeper.hang_up()
    with pytest.raises(BrokenError, match="no room"):
        talk(keeper).wait_for_unexecuted(BrokenError("no room"))


@pytest.mark.parametrize(
    "content", [encode_frame(b"?", b""), encode_frame(b"X", b"\0"), b"bwrap: oh no, " * 9]
)
def test_invalid_message_is_an_engine_error(make_keeper: Make, content: bytes) -> None:
    """Bytes that no keeper sends break the sandbox, not isosmoke."""
    keeper = make_keeper()
    keeper.send(content)
    keeper.hang_up()
    with pytest.raises(EngineError):
        talk(keeper).wait_for_exit(SOON)


def test_stop_of_isosmoke_costs_a_script_no_time(make_keeper: Make) -> None:
    """A script that waits for its output to be read ends in time, however long that takes."""
    keeper, clock = make_keeper(), [0.0]
    later = [encode_frame(b"o", b"second"), encode_exit(3)]

    def stop_and_print(_: Output) -> None:
        clock[0] += 3600.0
        keeper.send(later.pop(0))

    keeper.send(encode_frame(b"o", b"first"))
    conversation = Conversation(
        keeper, sink=stop_and_print, interrupt=NEVER, clock=lambda: clock[0]
    )

    assert conversation.wait_for_exit(SOON) == 3


def test_stop_of_isosmoke_makes_no_survivor(make_keeper: Make) -> None:
    """A process that prints and then ends does so within its settle time, despite a stop."""
    keeper, clock = make_keeper(), [0.0]
    later = [encode_frame(b"o", b"second"), EMPTY]

    def stop_and_print(_: Output) -> None:
        clock[0] += 3600.0
        keeper.send(later.pop(0))

    keeper.send(encode_exit(0))
    conversation = Conversation(
        keeper, sink=stop_and_print, interrupt=NEVER, clock=lambda: clock[0]
    )
    conversation.wait_for_exit(SOON)
    keeper.send(encode_frame(b"o", b"first"))

    assert conversation.wait_until_empty(SOON)


def test_interrupt_ends_the_wait(make_keeper: Make) -> None:
    """An interrupt while a script runs ends the wait with its reason."""
    interrupt = Interrupt()
    keeper = make_keeper()
    keeper.send(encode_frame(b"o", b"up"))

    with pytest.raises(StoppedError, match="SIGTERM"):
        talk(keeper, lambda _: interrupt.raise_for("SIGTERM"), interrupt).wait_for_exit(SOON)


def test_interrupt_raised_before_is_not_missed(make_keeper: Make) -> None:
    """An interrupt takes precedence over received events, and stays raised."""
    interrupt, keeper = Interrupt(), make_keeper()
    interrupt.raise_for("SIGINT")
    keeper.send(encode_exit(0))
    conversation = talk(keeper, interrupt=interrupt)

    for _ in range(2):
        with pytest.raises(StoppedError, match="SIGINT"):
            conversation.wait_for_exit(SOON)


def read_states(keeper: Keeper) -> Mapping[int, str]:
    """Return the state of each survivor by PID."""
    return {process.pid: process.state for process in talk(keeper).freeze_survivors()}


def test_survivors_are_listed_frozen_and_listed_again(make_keeper: Make) -> None:
    """The result is the list after the freeze."""
    keeper = make_keeper(encode_list((2, "S"), (3, "R")), STILL, encode_list((2, "T"), (4, "T")))
    states = read_states(keeper)

    assert keeper.commands == [protocol.LIST, protocol.FREEZE, protocol.LIST]
    assert set(states) == {2, 4}


def test_state_of_a_survivor_is_the_one_before_the_freeze(make_keeper: Make) -> None:
    """A survivor's state is the one before the keeper stopped it."""
    before = encode_list((2, "S"), (3, "D"), (4, "T"))
    keeper = make_keeper(before, STILL, encode_list((2, "T"), (3, "D"), (4, "T")))

    assert read_states(keeper) == {2: "S", 3: "D", 4: "T"}


def test_survivor_started_before_the_freeze_was_running(make_keeper: Make) -> None:
    """A process that is only in the second list was started in between, so it was running."""
    assert read_states(make_keeper(LISTED, STILL, encode_list((9, "T")))) == {9: "R"}


@pytest.mark.parametrize(
    "listing",
    [
        encode_process(b"5 (sleep)") + LISTED,
        encode_process(b"? (sleep) S 1 " + b"0 " * 18) + LISTED,
        encode_process(b"5 (sleep) S 1 " + b"0 " * 17 + b"9" * 400) + LISTED,
        encode_sleep(5, "S") + encode_frame(b"S", b"tcp\0header\n1: 0:0\n") + LISTED,
    ],
    ids=["short stat", "no PID", "huge number", "short table"],
)
@pytest.mark.parametrize("frozen", [True, False])
def test_list_that_no_kernel_prints_is_an_engine_error(
    make_keeper: Make, listing: bytes, *, frozen: bool
) -> None:
    """Text that cannot be parsed breaks the sandbox, because processes may be missing from it."""
    conversation = talk(make_keeper(listing, STILL, listing))
    request = conversation.freeze_survivors if frozen else conversation.list_processes

    with pytest.raises(EngineError, match="the keeper sent an invalid message"):
        request()


def test_process_that_ends_while_it_is_listed_is_no_survivor(make_keeper: Make) -> None:
    """A process whose `/proc` entry was gone when it was read is not a survivor."""
    gone = encode_process(b"")
    keeper = make_keeper(
        gone + encode_list((2, "S")), STILL, encode_list((2, "T"))[: -len(LISTED)] + gone + LISTED
    )

    assert read_states(keeper) == {2: "S"}


def test_sandbox_that_cannot_be_frozen_is_an_engine_error(make_keeper: Make) -> None:
    """If a process escapes the freeze, the list would not be reliable; the error names it."""
    keeper = make_keeper(encode_list((2, "R")), NOT_STILL, encode_list((2, "R")))
    with pytest.raises(EngineError, match="could not be stopped: pid 2: sleep 9 in /"):
        read_states(keeper)


def test_table_in_several_frames_is_joined(make_keeper: Make) -> None:
    """A table that is longer than one frame is joined before it is parsed."""
    text = (
        b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
        b"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0"
        b"        0 41001 1 0000000000000000 100 0 0 10 0\n"
    )
    pieces = b"".join(encode_frame(b"S", b"tcp\0" + part) for part in (text[:120], text[120:]))
    keeper = make_keeper(LISTED, STILL, encode_sleep(2, "T", "41001 ") + pieces + LISTED)

    (survivor,) = talk(keeper).freeze_survivors()

    assert survivor.listens == ("tcp 127.0.0.1:8080",)
    assert survivor.age_seconds == 1000.0


def test_keeper_that_ends_during_its_answer_is_an_engine_error(make_keeper: Make) -> None:
    """A keeper that dies in the middle of its list is an engine error, not a shorter list."""
    keeper = make_keeper()
    keeper.send(encode_list((2, "S"), (3, "S"))[: -len(LISTED)])
    keeper.hang_up()

    with pytest.raises(KeeperGoneError):
        talk(keeper).freeze_survivors()


def test_conversation_leaves_the_descriptor_open(make_keeper: Make) -> None:
    """A conversation never closes the channel, because it belongs to the engine."""
    keeper = make_keeper()
    keeper.send(encode_exit(0))
    talk(keeper).wait_for_exit(SOON)

    assert os.fstat(keeper.fileno())


JOB = (("tmux", "capture-pane"), PurePosixPath("/"), {"A": "1"})


def encode_probe_output(content: bytes) -> bytes:
    """Return the frame of a probe's output."""
    return encode_frame(b"q", content)


def encode_probe_exit(status: int) -> bytes:
    """Return the frame of a probe that ended."""
    return encode_frame(b"Q", struct.pack(">I", status))


def test_thaw_waits_for_its_answer(make_keeper: Make) -> None:
    """Frozen processes are resumed before the next request."""
    keeper = make_keeper(encode_frame(b"T", b""))
    talk(keeper).thaw()

    assert keeper.commands == [protocol.THAW]


def test_usage_is_in_seconds_and_bytes(make_keeper: Make) -> None:
    """Times are in seconds, memory in bytes."""
    assert talk(make_keeper(encode_frame(b"U", b"10 20 3"))).read_usage() == Usage(
        1e-05, 2e-05, 3072
    )


def test_probe_returns_its_status_and_output(make_keeper: Make) -> None:
    """A probe's output is joined, and kept apart from the script's."""
    keeper, outputs = make_keeper(), list[Output]()
    first, second = encode_probe_output(b"one "), encode_probe_output(b"two")
    keeper.send(first + encode_frame(b"o", b"script") + second + encode_probe_exit(256))

    assert talk(keeper, outputs.append).probe(*JOB, SOON) == (256, b"one two")
    assert outputs == [Output("stdout", b"script")]
    assert keeper.commands == [protocol.encode_probe(*JOB)]


def test_probe_that_takes_too_long_is_killed(make_keeper: Make) -> None:
    """At its deadline a probe is killed; its status is None, and its output is returned."""
    keeper = make_keeper(
        encode_probe_output(b"begun"), encode_probe_output(b", ended") + encode_probe_exit(9)
    )

    assert talk(keeper).probe(*JOB, 0.01) == (None, b"begun, ended")
    assert keeper.commands == [protocol.encode_probe(*JOB), protocol.END_PROBE]


def test_probe_that_never_stops_printing_is_killed(make_keeper: Make) -> None:
    """A probe with endless output is killed at its deadline, and its output is bounded."""
    keeper = make_keeper()
    conversation = talk(keeper)
    over = threading.Event()

    def flood() -> None:
        while protocol.END_PROBE not in keeper.commands:
            keeper.send(encode_probe_output(b"x" * 60_000))
        keeper.send(encode_probe_exit(9))
        over.set()

    thread = threading.Thread(target=flood)
    thread.start()
    status, output = conversation.probe(*JOB, 0.05)
    thread.join()

    assert over.is_set()
    assert status is None
    assert 0 < len(output) <= PROBE_BYTES


class SlowKeeper(Keeper):
    """A keeper behind a real channel, which accepts only what fits into its buffer."""

    def write(self, content: bytes) -> int:
        try:
            return self._runner.send(content, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0

    def receive(self, size: int) -> bytes:
        """Wait for `size` bytes of commands, and return them."""
        return self._own.recv(size, socket.MSG_WAITALL)


@pytest.fixture
def slow() -> Iterator[SlowKeeper]:
    """Return a keeper that reads only when the test calls `receive`."""
    keeper = SlowKeeper()
    yield keeper
    keeper.close()


def test_events_are_received_while_a_long_command_is_sent(slow: SlowKeeper) -> None:
    """A keeper may send more than the channel holds before it reads; no deadlock results."""
    command, output = b"x" * 4_000_000, b"y" * 4_000_000
    outputs: list[Output] = []
    received: list[bytes] = []

    def send_first() -> None:
        slow.send(encode_frame(b"o", output) + encode_exit(0))
        received.append(slow.receive(len(command)))

    thread = threading.Thread(target=send_first)
    thread.start()
    conversation = talk(slow, outputs.append)
    conversation.send(command)
    thread.join()

    assert received == [command]
    assert conversation.wait_for_exit(SOON) == 0
    assert b"".join(event.content for event in outputs) == output


def test_keeper_that_never_reads_is_an_engine_error(
    slow: SlowKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sending has its own deadline, which applies even if the other end is stopped."""
    monkeypatch.setattr("isosmoke.keeper.exchange.ANSWER_SECONDS", 0.01)
    with pytest.raises(EngineError, match=r"read nothing within 0\.01 s"):
        talk(slow).send(b"x" * 4_000_000)


def test_interrupt_ends_sending(slow: SlowKeeper) -> None:
    """A run can be stopped even if the keeper does not read."""
    interrupt = Interrupt()
    interrupt.raise_for("SIGINT")
    with pytest.raises(StoppedError, match="SIGINT"):
        talk(slow, interrupt=interrupt).send(b"x" * 4_000_000)


def test_probe_that_cannot_be_started_is_refused(make_keeper: Make) -> None:
    """The error of a refused probe has the keeper's message; the conversation continues."""
    keeper = make_keeper(
        encode_frame(b"N", b"starting the probe: Resource temporarily unavailable")
    )
    conversation = talk(keeper)
    with pytest.raises(RefusedError, match="temporarily unavailable"):
        conversation.probe(*JOB, SOON)

    keeper.send(encode_exit(0))
    assert conversation.wait_for_exit(SOON) == 0


def test_ending_during_a_probe_is_not_lost(make_keeper: Make) -> None:
    """The script's end and the empty sandbox are reported after a probe."""
    keeper = make_keeper(encode_exit(0) + encode_probe_exit(0) + EMPTY)
    conversation = talk(keeper)

    assert conversation.probe(*JOB, SOON) == (0, b"")
    assert conversation.wait_for_exit(SOON) == 0
    assert conversation.wait_until_empty(SOON)


class EndlessInput:
    """A source that always has input, which the keeper accepts at once."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._content = os.eventfd(1)
        self.accepted = 0

    def list_sources(self) -> tuple[int, ...]:
        return (self._content,)

    def handle(self, event: events.InputAccepted | events.InputClosed) -> None:
        self.accepted += 1

    def forward(self, readable: Collection[int]) -> None:
        if readable:
            self._keeper.send(encode_frame(b"Y", struct.pack(">I", 1)))

    def close(self) -> None:
        os.close(self._content)


def test_endless_input_does_not_extend_the_deadline(make_keeper: Make) -> None:
    """A script that reads forever is still running at the deadline."""
    keeper = make_keeper()
    source = EndlessInput(keeper)

    assert talk(keeper).wait_for_exit(0.05, source) is None
    assert source.accepted > 0
    source.close()


def test_exit_ends_the_input(make_keeper: Make) -> None:
    """The status of a script that has ended is returned while there is still input."""
    keeper = make_keeper()
    source = EndlessInput(keeper)
    keeper.send(encode_frame(b"Z", b"") + encode_exit(256))

    assert talk(keeper).wait_for_exit(SOON, source) == 256
    assert source.accepted == 1
    source.close()
