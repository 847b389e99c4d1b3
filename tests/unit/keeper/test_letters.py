"""The letters of frames in keeper.c and in the fake engine, compared with protocol.py."""

import inspect
import re
from enum import Enum

import pytest

from isosmoke.keeper import protocol
from isosmoke.keeper.build import SOURCE
from isosmoke.keeper.protocol import Command, EventKind, encode_frame
from isosmoke.testing import fake

KEEPER = SOURCE.read_text()


def enumerators(name: str) -> dict[str, bytes]:
    """Return the names and letters of an enum in keeper.c."""
    (content,) = re.findall(rf"^enum {name} \{{(.*?)^\}};", KEEPER, re.DOTALL | re.MULTILINE)
    pairs = re.findall(r"(\w+) = '(.)'", content)
    assert len(pairs) == content.count("="), "an enumerator has no letter"
    return {name: letter.encode() for name, letter in pairs}


@pytest.mark.parametrize(("name", "letters"), [("command", Command), ("event", EventKind)])
def test_keeper_has_the_letters_of_the_protocol(name: str, letters: type[Enum]) -> None:
    """Both ends have the same frames, with the same names and letters."""
    assert enumerators(name) == {letter.name: letter.value for letter in letters}


def test_keeper_has_the_version_of_the_protocol() -> None:
    """Both ends have the same version, because a keeper of another version is refused."""
    assert re.findall(r'^#define VERSION "(.*)"', KEEPER, re.MULTILINE) == [protocol.VERSION]


@pytest.mark.parametrize("letters", [Command, EventKind])
def test_letters_differ(letters: type[Enum]) -> None:
    """No letter has two names; in an enum, the second name would be a hidden alias."""
    assert all(len(letter.value) == 1 for letter in letters)
    assert len({*letters}) == len(letters.__members__)


def is_unknown(kind: bytes) -> bool:
    """Return whether the decoder refuses a frame because of its letter, not of its payload."""
    try:
        list(protocol.Decoder().feed(encode_frame(kind, b"")))
    except protocol.ProtocolError as error:
        return isinstance(error.__cause__, KeyError)
    return False


def test_every_event_is_decoded() -> None:
    """The decoder knows every letter of the keeper's events."""
    assert [kind for kind in EventKind if is_unknown(kind)] == []
    assert is_unknown(b"?")


@pytest.mark.parametrize("kind", [*Command, *EventKind])
def test_frame_is_letter_length_and_payload(kind: bytes) -> None:
    """An enum member is packed as its letter."""
    assert encode_frame(kind, b"ab") == bytes(kind) + b"\0\0\0\2ab"


def test_fake_keeper_repeats_no_letter() -> None:
    """The fake engine uses the enum members, so a changed letter changes there too."""
    text = inspect.getsource(fake)
    assert "case Command.GO" in text
    assert re.findall(r'(?:_tell\(|case )b".*', text) == []
