"""The log of isosmoke-exec: every line that is missing or damaged is a lost run."""

import json

import pytest

from isosmoke.leak_log import log_reader

RECORD = {
    "schema_version": 1,
    "test": "a",
    "argv": ["a"],
    "cwd": "/",
    "started_at": "2026-11-29T15:21:04.967Z",
    "seconds": 1.5,
    "watched": True,
    "reason": "",
    "exit_code": 0,
    "signal": None,
    "survivors": [],
}
LINE = json.dumps(RECORD).encode() + b"\n"


@pytest.mark.parametrize(
    ("content", "records", "lost"),
    [
        (b"", 0, 0),
        (b" " + LINE, 1, 0),
        (b"  " + LINE + LINE, 2, 0),
        (LINE, 1, 0),  # a line without a mark, such as one that was copied
        (b" ", 0, 1),
        (b"   " + LINE, 1, 2),
        (b"  " + LINE + LINE[:40], 1, 1),
        (b" " + LINE[:-2], 0, 1),
        (b" " + LINE[:40] + b" " + LINE, 1, 1),  # a full disk, and a later run
        (b"not JSON\n", 0, 1),
        (b"{}\n", 0, 1),
        (b" " + LINE.replace(b'["a"]', b"[]"), 0, 1),  # a command has at least a name
        (b" \xff\xfe\n", 0, 1),
    ],
)
def test_runs_are_counted(content: bytes, records: int, lost: int) -> None:
    """Complete lines are records; every other start of a run is lost."""
    log = log_reader.parse(content)

    assert (len(log.records), log.lost) == (records, lost)
