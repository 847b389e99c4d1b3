"""A summary of a log: which test left which process, and how often (pure)."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Literal

from isosmoke.leak_log.log_reader import ExecLog, ExecRecord
from isosmoke.results.records.document_base import RecordModel, Text
from isosmoke.text import quote_command, shorten

_TEMPORARY = re.compile(r"/(?:var/)?tmp/[^\s'\"=:,;)]*")
_NUMBER = re.compile(r"[0-9a-f]{8,}|\d+")
_HASH = re.compile(r"-[0-9a-f]{16}$")
_GO_FLAG = "-test."
_ANY_TEMPORARY = "/tmp/#"  # noqa: S108 - a name, not a file


class KnownLeak(RecordModel):
    """A process that a test leaves; `processes` is the largest number of them in one run."""

    test: Text
    process: Text
    processes: int


class LeakSummary(KnownLeak):
    """A leak in a log: in `runs` of the `watched_runs` of its test; `is_new` without a baseline."""

    runs: int
    watched_runs: int
    age_seconds: float
    sockets: tuple[Text, ...]
    is_new: bool = True


class UnwatchedRun(RecordModel):
    """A run without a verdict; `test` is null if its line is missing or damaged."""

    test: Text | None
    reason: Text


class LeaksDocument(RecordModel):
    """The output of `isosmoke leaks --json`; `tests` has the number of watched runs of each test.

    `fixed` lists the leaks of the baseline that did not occur although their test ran.
    """

    schema_version: Literal[1] = 1
    runs: int
    tests: Mapping[Text, int]
    leaks: tuple[LeakSummary, ...]
    unwatched: tuple[UnwatchedRun, ...]
    fixed: tuple[KnownLeak, ...] = ()


def name_test(record: ExecRecord) -> str:
    """Return the name of a run: its own, else the command without the parts that change.

    Those are the directory of the program, the hash that cargo appends to its name, flags that
    `go test` adds, and paths of temporary files.
    """
    if record.test:
        return record.test
    program = _HASH.sub("", PurePath(record.argv[0]).name)
    rest = [argument for argument in record.argv[1:] if not argument.startswith(_GO_FLAG)]
    return shorten(_TEMPORARY.sub(_ANY_TEMPORARY, quote_command((program, *rest))))


def name_process(argv: Iterable[str]) -> str:
    """Return a command line in which numbers and temporary paths are replaced by `#`."""
    return shorten(_NUMBER.sub("#", _TEMPORARY.sub(_ANY_TEMPORARY, quote_command(argv))))


def summarize(log: ExecLog) -> LeaksDocument:
    """Return the summary of a log, sorted by test and process."""
    watched = [record for record in log.records if record.watched]
    tests = Counter(map(name_test, watched))
    found: dict[tuple[str, str], list[LeakSummary]] = {}
    for record in watched:
        for leak in _list_leaks(record, tests):
            found.setdefault((leak.test, leak.process), []).append(leak)
    unwatched = [
        UnwatchedRun(test=name_test(record), reason=record.reason)
        for record in log.records
        if not record.watched
    ]
    lost = UnwatchedRun(test=None, reason="its line in the log is missing or damaged")
    return LeaksDocument(
        runs=len(log.records) + log.lost,
        tests=dict(sorted(tests.items())),
        leaks=tuple(_merge(found[key]) for key in sorted(found)),
        unwatched=(*unwatched, *[lost] * log.lost),
    )


def _list_leaks(record: ExecRecord, tests: Mapping[str, int]) -> Iterable[LeakSummary]:
    """Yield the leaks of one run, with equal processes joined."""
    test = name_test(record)
    counts = Counter(name_process(survivor.argv) for survivor in record.survivors)
    for process, count in counts.items():
        same = [item for item in record.survivors if name_process(item.argv) == process]
        yield LeakSummary(
            test=test,
            process=process,
            processes=count,
            runs=1,
            watched_runs=tests[test],
            age_seconds=max(item.age_seconds for item in same),
            sockets=tuple(sorted({socket for item in same for socket in item.sockets})),
        )


def _merge(leaks: list[LeakSummary]) -> LeakSummary:
    """Return one summary for the same leak in several runs."""
    return leaks[0].model_copy(
        update={
            "runs": len(leaks),
            "processes": max(leak.processes for leak in leaks),
            "age_seconds": max(leak.age_seconds for leak in leaks),
            "sockets": tuple(sorted({socket for leak in leaks for socket in leak.sockets})),
        }
    )
