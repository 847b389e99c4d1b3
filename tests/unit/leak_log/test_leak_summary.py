"""The summary of a log, its stable names, and the baseline that only shrinks."""

from xml.etree.ElementTree import fromstring

import pytest

from isosmoke.leak_log import baseline, leak_junit, leak_summary
from isosmoke.leak_log.leak_summary import KnownLeak, LeaksDocument
from isosmoke.leak_log.log_reader import ExecLog, ExecRecord, ExecSurvivor


def build_record(
    test: str | None, *processes: str, reason: str = "", argv: tuple[str, ...] = ("x",)
) -> ExecRecord:
    """Return a run of a test that left these processes; with a reason, one without a verdict."""
    return ExecRecord(
        schema_version=1,
        test=test,
        argv=argv,
        cwd="/",
        started_at="2026-11-29T15:21:04.967Z",
        seconds=1,
        watched=not reason,
        reason=reason,
        exit_code=None if reason else 0,
        signal=None,
        survivors=tuple(
            ExecSurvivor(pid=3, argv=tuple(process.split()), age_seconds=2, sockets=("tcp :1",))
            for process in processes
        ),
    )


def summarize(*records: ExecRecord, lost: int = 0) -> LeaksDocument:
    """Return the summary of these runs."""
    return leak_summary.summarize(ExecLog(records, lost))


def list_known(*names: tuple[str, str, int]) -> tuple[KnownLeak, ...]:
    """Return entries of a baseline."""
    return tuple(KnownLeak(test=a, process=b, processes=n) for a, b, n in names)


def test_leaks_are_counted_by_test_and_process() -> None:
    """A process is the same one if only numbers and temporary paths differ."""
    document = summarize(
        build_record("b", "serve --port 4001", "serve --port 4002"),
        build_record("b", "serve --port 5"),
        build_record("b"),
        build_record("a", "tmux -S /tmp/x1/s new"),
    )

    rows = [(k.test, k.process, k.processes, k.runs, k.watched_runs) for k in document.leaks]
    assert rows == [("a", "tmux -S /tmp/# new", 1, 1, 1), ("b", "serve --port #", 2, 2, 3)]


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (("/w/target/debug/deps/crate-0123456789abcdef", "--nocapture"), "crate --nocapture"),
        (("/tmp/go-build1/b001/pkg.test", "-test.timeout=10m0s", "-test.v=true"), "pkg.test"),  # noqa: S108
        (("/build/unit", "--case", "7"), "unit --case 7"),
        (("sh", "/tmp/pytest-1/x.sh"), "sh /tmp/#"),  # noqa: S108
    ],
)
def test_name_of_a_test_is_stable(argv: tuple[str, ...], name: str) -> None:
    """A rebuild, another directory and another temporary file do not change the name."""
    assert leak_summary.name_test(build_record(None, argv=argv)) == name


def test_unwatched_runs_are_listed() -> None:
    """A lost line has no name, a run without a verdict has one."""
    document = summarize(build_record("a", reason="refused"), build_record("b"), lost=2)

    assert document.runs == 4
    assert [run.test for run in document.unwatched] == ["a", None, None]
    assert dict(document.tests) == {"b": 1}


def test_baseline_accepts_known_leaks_only() -> None:
    """Another process, another test, and more of the same process are new."""
    first = summarize(build_record("a", "x"), build_record("b", "y"))
    known = baseline.build(first)
    second = summarize(
        build_record("a", "x", "x"), build_record("b", "y", "z"), build_record("c", "x")
    )
    marked, smaller = baseline.compare(second, known)

    new = {(leak.test, leak.process) for leak in marked.leaks if leak.is_new}
    assert new == {("a", "x"), ("b", "z"), ("c", "x")}
    assert smaller == known


def test_baseline_shrinks() -> None:
    """A leak that no longer occurs is removed, if its test ran and was watched."""
    known = baseline.Baseline(
        leaks=list_known(("a", "x", 3), ("a", "y", 1), ("b", "x", 1), ("c", "x", 1))
    )
    document = summarize(build_record("a", "x"), build_record("b", reason="refused"))
    marked, smaller = baseline.compare(document, known)

    assert smaller.leaks == list_known(("a", "x", 1), ("b", "x", 1), ("c", "x", 1))
    assert marked.fixed == list_known(("a", "y", 1))
    assert not any(leak.is_new for leak in marked.leaks)


def test_junit_has_a_case_for_each_test() -> None:
    """A new leak is a failure, and a run without a verdict is skipped."""
    document = summarize(build_record("a", "x"), build_record("b"), lost=1)
    (suite,) = fromstring(leak_junit.render(document))  # noqa: S314 - our own

    cases = [(case.get("name"), [child.tag for child in case]) for case in suite]
    assert cases == [("a", ["failure"]), ("b", []), ("a run without a line", ["skipped"])]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
