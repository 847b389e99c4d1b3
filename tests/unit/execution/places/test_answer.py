"""An answer keeps every part of an attempt; an incomplete one is refused."""

import json
import zlib
from base64 import b64decode, b64encode
from dataclasses import fields, replace
from typing import get_args

import pytest

from isosmoke.execution.places import answer, stand_in_mounts
from isosmoke.execution.places.answer import Answer, AnswerError, Needs
from isosmoke.results.evidence import Change, Evidence, Pane
from isosmoke.results.leaks import LeakVerdict, Tolerated
from isosmoke.results.outcome import (
    Broke,
    Ending,
    Exited,
    MissingRequirement,
    Signaled,
    Stopped,
    TimedOut,
)
from isosmoke.results.run_results import Attempt, CapturedOutput, Worker
from isosmoke.sandbox.survivors import Process, Usage

PROCESS = Process(
    pid=7,
    ppid=1,
    argv=("sleep", "\udcff"),
    cwd="/work",
    exe="/bin/sleep",
    age_seconds=1.5,
    state="S",
    listens=("tcp 127.0.0.1:80",),
)
ATTEMPT = Attempt(
    ending=Exited(3),
    verdict=LeakVerdict((PROCESS,), (Tolerated(PROCESS, "known"),)),
    leak_blocks=False,
    output=CapturedOutput(head=b"\0\xff", tail=b"end", size=900),
    stderr=CapturedOutput(head=b"e", size=1),
    unlogged="the disk is full",
    phases={"create": 0.5, "destroy": 0.25},
    environment={"A": "b"},
    evidence=Evidence(
        changes=(Change(path="/x", change="added", kind="file", size=3, text="y"),),
        changes_left_out=2,
        panes=(Pane(server="/s", name="0:0.0", pid=9, lines=("a", "b")),),
        usage=Usage(0.1, 0.2, 300),
        peaks={"memory": 4},
        missing=("the rest",),
    ),
    leftovers=("box (remove it: rm box)",),
    reached_limits=("memory",),
    missing_program="no such program",
    script_sha256="ab",
    worker=Worker(name="w", host="h", pid=3, system="Linux"),
)
ENDINGS: tuple[Ending, ...] = (
    Exited(0),
    Signaled(9),
    TimedOut(2.5),
    MissingRequirement("no tmux"),
    Broke("no engine"),
    Stopped("SIGINT"),
)
OF_CLIENT = {"log", "alone", "begun", "postponed", "waited", "repetition", "load", "doubts"} | {
    *("basis", "inputs", "losses")
}
"""The fields that the client of a place sets itself."""


def encode(attempt: Attempt = ATTEMPT) -> bytes:
    """Return the bytes of an answer to the order `n`."""
    return answer.encode("n", Answer(attempt=attempt, log=b"text\n", is_gone=True, notes=("note",)))


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: type(ending).__name__)
def test_attempt_survives_bytes(ending: Ending) -> None:
    """Each ending, and everything else that a worker knows, is the same after decoding."""
    attempt = replace(ATTEMPT, ending=ending)
    assert answer.decode(encode(attempt), "n") == Answer(
        attempt=attempt, log=b"text\n", is_gone=True, notes=("note",)
    )


def test_endings_are_complete() -> None:
    """The previous test has every ending."""
    assert {*map(type, ENDINGS)} == {*get_args(Ending)}


def test_every_field_of_worker_is_sent() -> None:
    """A new field of an attempt is either sent, or set by the client."""
    sent = set(json.loads(encode()))
    names = {item.name for item in fields(Attempt)} - OF_CLIENT - {"verdict"}
    assert names <= sent


@pytest.mark.parametrize("name", sorted(json.loads(encode())))
def test_missing_field_is_refused(name: str) -> None:
    """An answer without any one of its fields is not a record."""
    values = json.loads(encode())
    del values[name]
    with pytest.raises(AnswerError):
        answer.decode(json.dumps(values).encode(), "n")


@pytest.mark.parametrize("length", range(0, len(encode()) - 1, 97))
def test_half_a_record_is_refused(length: int) -> None:
    """A record that was cut anywhere is not a record."""
    with pytest.raises(AnswerError):
        answer.decode(encode()[:length], "n")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ending", {"kind": "Exited", "code": False}),
        ("ending", {"kind": "Exited", "code": "0"}),
        ("ending", {"kind": "Signaled", "number": 9.0}),
        ("output", {"head": "", "tail": "", "size": float("inf")}),
        ("phases", {"create": float("nan")}),
        ("phases", {"create": float("inf")}),
        ("phases", {"create": -1}),
        ("phases", {"create": "1"}),
    ],
)
def test_field_of_another_type_is_refused(name: str, value: object) -> None:
    """A value that is no exit code neither passes nor fails."""
    values = {**json.loads(encode()), name: value}
    with pytest.raises(AnswerError):
        answer.decode(json.dumps(values).encode(), "n")


def test_answer_that_is_too_large_is_refused() -> None:
    """A worker cannot make its client decode any number of bytes."""
    with pytest.raises(AnswerError, match="more than 128 MiB"):
        answer.decode(bytes(answer.MAX_ANSWER + 1), "n")


def test_deep_nesting_is_refused() -> None:
    """Bytes that Python cannot read are no answer."""
    with pytest.raises(AnswerError):
        answer.decode(b"[" * 100_000, "n")


def test_answer_to_another_order_is_refused() -> None:
    """A late answer to an earlier order of the same attempt is dropped."""
    with pytest.raises(AnswerError, match="another order"):
        answer.decode(encode(), "m")


def test_needs_are_no_attempt() -> None:
    """A place that lacks content names it."""
    assert answer.decode(answer.encode_needs("n", ("a", "b")), "n") == Needs(digests=("a", "b"))


def test_files_of_stand_ins_survive_bytes() -> None:
    """The files that appeared in a sandbox are the same, also if there are none."""
    for files in (None, {}, {"/run/calls": {"log": b"\0\xff"}, "/run/other": {}}):
        content = answer.encode("n", Answer(attempt=ATTEMPT, log=None, is_gone=True, files=files))
        decoded = answer.decode(content, "n")

        assert isinstance(decoded, Answer)
        assert decoded.files == files


@pytest.mark.parametrize(
    "name", ["../log", "/etc/log", "a/b", "..", "", ".", "a\0b", "a" * 300, "two words"]
)
def test_file_with_a_path_is_refused(name: str) -> None:
    """A worker cannot name a file outside of the directory of its recordings."""
    files = {"/run/calls": {name: b"x"}}
    content = answer.encode("n", Answer(attempt=ATTEMPT, log=None, is_gone=True, files=files))
    with pytest.raises(AnswerError, match="plain name"):
        answer.decode(content, "n")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"log": bytes(stand_in_mounts.MAX_BYTES + 1)}, "too large"),
        ({f"log{number}": b"" for number in range(101)}, "more than 100 files"),
    ],
)
def test_more_files_than_a_worker_returns_are_refused(files: dict[str, bytes], reason: str) -> None:
    """A short answer does not become a large directory of this machine."""
    content = answer.encode(
        "n", Answer(attempt=ATTEMPT, log=None, is_gone=True, files={"/run/calls": files})
    )
    with pytest.raises(AnswerError, match=reason):
        answer.decode(content, "n")


def test_other_content_is_bounded_and_complete() -> None:
    """A log is not larger than any content of an answer may be, and none of it is missing."""
    whole = json.loads(answer.encode("n", Answer(attempt=ATTEMPT, log=b"line\n", is_gone=True)))
    compressed = b64decode(whole["log"])
    for log, reason in (
        (zlib.compress(bytes(stand_in_mounts.MAX_BYTES + 1)), "too large"),
        (compressed[:-1], "incomplete"),
    ):
        changed = {**whole, "log": b64encode(log).decode()}
        with pytest.raises(AnswerError, match=reason):
            answer.decode(json.dumps(changed).encode(), "n")
