"""The parser of the stand-in's log."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.teeth.calls import call_log
from isosmoke.teeth.calls.call_log import CallLogError


def netstring(content: bytes) -> bytes:
    """Return a netstring."""
    return b"%d:%b," % (len(content), content)


def record(**fields: bytes) -> bytes:
    """Return a record with these fields."""
    parts = (netstring(key.encode()) + netstring(value) for key, value in fields.items())
    return netstring(b"".join(parts))


START = {
    "event": b"start",
    "call": b"1.2",
    "name": b"add",
    "arguments": b"7",
    "nested": b"0",
    "applied": b"",
    "argv": netstring(b"wg") + netstring(b"add"),
    "stdin": b"null",
    "stdout": b"pipe",
    "stderr": b"file",
    "pid": b"9",
    "ancestors": b"8 7",
}
OUTPUT = netstring(b"size") + netstring(b"3") + netstring(b"digest") + netstring(b"5")
END = {
    "event": b"end",
    "call": b"1.2",
    "status": b"2",
    "microseconds": b"1500",
    "joined": b"0",
    "stdout": OUTPUT + netstring(b"content") + netstring(b"a:,"),
}


def test_call_has_fields_of_both_records() -> None:
    """A call consists of a start and an end, also if another call starts between them."""
    other = {**START, "call": b"3.4", "name": b"other"}
    first, second = call_log.parse(record(**START) + record(**other) + record(**END))

    assert (first.name, first.status, first.seconds) == ("add", 2, 0.0015)
    assert first.stdout is not None
    assert first.stdout.content == b"a:,"
    assert first.ancestors == (8, 7)
    assert (second.name, second.status, second.stdout) == ("other", None, None)


@pytest.mark.parametrize("content", [b"x", b"3:ab", b"3:abc;", b"9999999999999999999999:", b"1:a,"])
def test_damaged_log_is_an_error(content: bytes) -> None:
    """A log that is not a sequence of records is refused."""
    with pytest.raises(CallLogError):
        call_log.parse(content)


@given(st.binary(max_size=60))
def test_any_content_is_calls_or_an_error(content: bytes) -> None:
    """No content of a log raises another error."""
    calls = None
    with suppress(CallLogError):
        calls = call_log.parse(content)

    assert calls in (None, ())
