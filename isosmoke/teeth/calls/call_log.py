"""The log of the stand-in's calls: netstrings to `Call`.

`isosmoke/keeper/standin.c` writes it. A script can write to the log as well, so nothing in it is
trusted: a log that does not have its form is an error.
"""

from collections.abc import Iterator, Mapping
from dataclasses import field

from isosmoke.dataclass import dataclass

MAX_KEPT = 1 << 20
"""The maximum size of the part of an output that the stand-in keeps, in bytes."""


class CallLogError(Exception):
    """A log does not have the form that the stand-in writes."""


@dataclass(frozen=True, slots=True)
class CallOutput:
    """An output of a call: its size in bytes, its digest, and its beginning."""

    size: int
    digest: int
    content: bytes

    @property
    def is_complete(self) -> bool:
        """True if the content is the whole output."""
        return len(self.content) == self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of the binary, in the order of the starts.

    `name` is the subcommand, and `arguments` a digest of all arguments. `applied` is the sabotage,
    or empty. `status` is None if the end was not recorded. The outputs are None if they were not
    captured: those of a terminal, a socket or /dev/null. `stdout` has both outputs if `joined`.
    `effects` describes the first change that the call made outside its outputs; it is None if the
    call was not traced. `place` is the line of the script, if it was recorded; `places` parses it.
    """

    name: str
    argv: tuple[bytes, ...]
    arguments: int
    nested: bool
    applied: str
    pid: int
    ancestors: tuple[int, ...]
    kinds: tuple[str, str, str]
    status: int | None = None
    seconds: float = 0.0
    joined: bool = False
    stdout: CallOutput | None = None
    stderr: CallOutput | None = None
    effects: str | None = None
    place: str = ""

    @property
    def outputs(self) -> tuple[CallOutput, ...]:
        """The outputs that were captured."""
        return tuple(output for output in (self.stdout, self.stderr) if output is not None)

    @property
    def is_observed(self) -> bool:
        """True if the output that a reader can see was captured as a whole."""
        unseen = {"terminal", "socket", "other"}
        return unseen.isdisjoint(self.kinds[1:]) and all(
            output.is_complete for output in self.outputs
        )

    @property
    def is_silent(self) -> bool:
        """True if the call printed nothing that a reader can see."""
        return self.is_observed and not any(output.size for output in self.outputs)

    @property
    def has_no_effects(self) -> bool:
        """True if the call was traced and changed nothing outside its outputs."""
        return self.effects == ""


@dataclass(slots=True)
class _Unfinished:
    """The fields of a call's records so far."""

    start: Mapping[str, bytes]
    end: Mapping[str, bytes] = field(default_factory=dict)


def parse(log: bytes) -> tuple[Call, ...]:
    """Return the calls in a log, in the order in which they started.

    Raises:
        CallLogError: if the log does not have the form that the stand-in writes.
    """
    calls: dict[bytes, _Unfinished] = {}
    try:
        for record in _split(log):
            fields = _read_fields(record)
            if fields["event"] == b"start":
                calls[fields["call"]] = _Unfinished(fields)
            else:
                calls[fields["call"]].end = fields
        return tuple(_create_call(call) for call in calls.values())
    except (KeyError, ValueError) as error:
        raise CallLogError(f"the log of calls is damaged: {error}") from error


def _split(content: bytes) -> Iterator[bytes]:
    """Yield the content of each netstring."""
    at = 0
    while at < len(content):
        colon = content.index(b":", at, at + 20)
        start, size = colon + 1, int(content[at:colon])
        if content[start + size : start + size + 1] != b",":
            raise ValueError(f"no comma after byte {start + size}")
        yield content[start : start + size]
        at = start + size + 1


def _read_fields(record: bytes) -> Mapping[str, bytes]:
    parts = tuple(_split(record))
    if len(parts) % 2:
        raise ValueError("a key has no value")
    return {key.decode(): value for key, value in zip(parts[::2], parts[1::2], strict=True)}


def _create_call(call: _Unfinished) -> Call:
    start, end = call.start, call.end
    return Call(
        name=start["name"].decode(errors="surrogateescape"),
        argv=tuple(_split(start["argv"])),
        arguments=int(start["arguments"]),
        nested=start["nested"] == b"1",
        applied=start["applied"].decode(),
        pid=int(start["pid"]),
        ancestors=tuple(map(int, start["ancestors"].split())),
        kinds=(start["stdin"].decode(), start["stdout"].decode(), start["stderr"].decode()),
        status=int(end["status"]) if "status" in end else None,
        seconds=int(end.get("microseconds", b"0")) / 1e6,
        joined=end.get("joined") == b"1",
        stdout=_create_output(end.get("stdout")),
        stderr=_create_output(end.get("stderr")),
        effects=end["effects"].decode(errors="replace") if "effects" in end else None,
        place=start.get("place", b"").decode(errors="surrogateescape"),
    )


def _create_output(value: bytes | None) -> CallOutput | None:
    if value is None:
        return None
    fields = _read_fields(value)
    return CallOutput(int(fields["size"]), int(fields["digest"]), fields["content"])
