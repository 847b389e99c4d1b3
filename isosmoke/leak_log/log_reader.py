"""A parser for logs of `isosmoke-exec` (pure). One line is one run; `exec.c` writes it.

Before it starts a command, `isosmoke-exec` writes one space, which JSON permits before a value.
More spaces than lines therefore mean that a run left no line.
"""

from typing import Annotated, Literal

from pydantic import Field, ValidationError

from isosmoke.dataclass import dataclass
from isosmoke.results.records.document_base import RecordModel, Text

_START = b'{"schema_version"'


class ExecSurvivor(RecordModel):
    """A process that outlived a command; `pid` is that in the command's PID namespace."""

    pid: int
    argv: tuple[Text, ...]
    age_seconds: float
    sockets: tuple[Text, ...] = ()


class ExecRecord(RecordModel):
    """A run of `isosmoke-exec`.

    Without a verdict, `watched` is false and `reason` says why. `test` is null if the run has no
    name. One of `exit_code` and `signal` is null, without a verdict both are.
    """

    schema_version: Literal[1]
    test: Text | None
    argv: Annotated[tuple[Text, ...], Field(min_length=1)]
    cwd: Text
    started_at: str
    seconds: float
    watched: bool
    reason: Text
    exit_code: int | None
    signal: int | None
    survivors: tuple[ExecSurvivor, ...]


@dataclass(frozen=True, slots=True)
class ExecLog:
    """The runs of a log, and the number of runs whose line is missing or damaged."""

    records: tuple[ExecRecord, ...]
    lost: int


def parse(content: bytes) -> ExecLog:
    """Parse a log; a missing, truncated or damaged line is a lost run, never an error."""
    records: list[ExecRecord] = []
    damaged = starts = 0
    for line in content.split(b"\n"):
        body = line.lstrip(b" ")
        starts += len(line) - len(body)
        record, is_damaged = _parse_line(body)
        records += [record] if record else []
        damaged += is_damaged
    return ExecLog(tuple(records), max(damaged, starts - len(records)))


def _parse_line(line: bytes) -> tuple[ExecRecord | None, bool]:
    """Return the record of a line, and whether the line has anything else.

    A record that follows a truncated one on the same line is still found.
    """
    if not line.strip():
        return None, False
    start = max(line.rfind(_START), 0)
    try:
        return ExecRecord.model_validate_json(line[start:]), start > 0
    except ValidationError:
        return None, True
