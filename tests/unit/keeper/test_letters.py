"""The letters of the frames are those of protocol.py, in keeper.c and in the fake engine."""

import inspect
import re
from enum import Enum

import pytest

from isosmoke.keeper import protocol
from isosmoke.keeper.build import SOURCE
from isosmoke.keeper.protocol import Command, EventKind, frame
from isosmoke.testing import fake

KEEPER = SOURCE.read_text()


def enumerators(name: str) -> dict[str, bytes]:
    """Return the names and letters of an enum in keeper.c."""
    (content,) = re.findall(rf"^enum {name} \{{(.*?)^\}};", KEEPER, re.DOTALL | re.MULTILINE)
    found = re.findall(r"(\w+) = '(.)'", content)
    assert len(found) == content.count("="), "an enumerator has no letter"
    return {name: letter.encode() for name, letter in found}


@pytest.mark.parametrize(("name", "letters"), [("command", Command), ("event", EventKind)])
def test_keeper_has_the_letters_of_the_protocol(name: str, letters: type[Enum]) -> None:
    """Each frame has the same name and letter on both ends, and neither end has another."""
    assert enumerators(name) == {letter.name: letter.value for letter in letters}


def test_keeper_has_the_version_of_the_protocol() -> None:
    """A keeper of another version is refused, so both are raised together."""
    assert re.findall(r'^#define VERSION "(.*)"', KEEPER, re.MULTILINE) == [protocol.VERSION]


@pytest.mark.parametrize("letters", [Command, EventKind])
def test_letters_differ(letters: type[Enum]) -> None:
    """A second name for a letter would be an alias, which an enum hides."""
    assert all(len(letter.value) == 1 for letter in letters)
    assert len({*letters}) == len(letters.__members__)


def is_unknown(kind: bytes) -> bool:
    """Whether the decoder refuses a frame for its letter, and not for a payload that it lacks."""
    try:
        list(protocol.Decoder().feed(frame(kind, b"")))
    except protocol.ProtocolError as error:
        return isinstance(error.__cause__, KeyError)
    return False


def test_every_event_is_decoded() -> None:
    """No letter of the keeper's is unknown to the decoder."""
    assert [kind for kind in EventKind if is_unknown(kind)] == []
    assert is_unknown(b"?")


@pytest.mark.parametrize("kind", [*Command, *EventKind])
def test_frame_is_the_letter_its_length_and_the_payload(kind: bytes) -> None:
    """A letter by its name is packed as the byte that it is."""
    assert frame(kind, b"ab") == bytes(kind) + b"\0\0\0\2ab"


def test_fake_keeper_repeats_no_letter() -> None:
    """A frame whose letter changes changes in the fake engine too."""
    text = inspect.getsource(fake)
    assert "case Command.GO" in text
    assert re.findall(r'(?:_tell\(|case )b".*', text) == []
