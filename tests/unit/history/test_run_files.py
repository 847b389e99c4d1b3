"""The files of runs that reports show."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from isosmoke.history import reader, run_files
from isosmoke.history.layout import HEADER, RESULT
from isosmoke.results.outcome import Exited, Outcome
from isosmoke.results.run_record import RunRecord, ScenarioRecord
from isosmoke.results.run_results import Attempt
from support import past_runs, records, result_factories

MAX_BYTES = 1000


def record(top: Path, attempt: Attempt, name: str = "one") -> RunRecord:
    """Record a run with one attempt, and load it."""
    result = result_factories.make_result(attempt, name=name)
    return reader.load_run(past_runs.record_run(top, result))


def make_logged(top: Path, content: bytes) -> RunRecord:
    """Return a recorded run whose scenario has a log with this content."""
    output = records.make_output(content.decode(errors="surrogateescape"))
    attempt = Attempt(ending=Exited(1), output=output, log=Path("/elsewhere/output-1.log"))
    run = record(top, attempt)
    (Path(run.record or "") / "one" / "output-1.log").write_bytes(content)
    return run


def keep(_: ScenarioRecord, text: str) -> str:
    """Redact nothing."""
    return text


def test_log_is_read_from_the_directory_of_the_run(tmp_path: Path) -> None:
    """The directory may have been moved since the run."""
    run = make_logged(tmp_path, b"a\xff\n")
    logs = run_files.read_logs(run, run.scenarios, MAX_BYTES)

    assert logs["/elsewhere/output-1.log"].head == b"a\xff\n"
    assert not logs["/elsewhere/output-1.log"].left_out


def test_long_log_has_its_beginning_and_more_of_its_end(tmp_path: Path) -> None:
    """The number of bytes between them is known."""
    run = make_logged(tmp_path, b"begin" + b"." * 5000 + b"end")
    (log,) = run_files.read_logs(run, run.scenarios, MAX_BYTES).values()

    assert (len(log.head), len(log.tail), log.left_out) == (250, 750, 4008)
    assert log.head.startswith(b"begin")
    assert log.tail.endswith(b"end")


def test_log_that_is_missing_or_a_link_is_left_out(tmp_path: Path) -> None:
    """A link could lead to any file of the reader."""
    run = make_logged(tmp_path, b"text")
    log = Path(run.record or "") / "one" / "output-1.log"
    log.unlink()
    assert run_files.read_logs(run, run.scenarios, MAX_BYTES) == {}

    (tmp_path / "secret").write_text("text")
    log.symlink_to(tmp_path / "secret")
    assert run_files.read_logs(run, run.scenarios, MAX_BYTES) == {}


def make_scripted(top: Path, content: bytes, sha256: str) -> RunRecord:
    """Return a recorded run of a script with this content and this recorded hash."""
    script = top / "one.sh"
    script.write_bytes(content)
    run = record(top, Attempt(ending=Exited(1), script_sha256=sha256))
    (scenario,) = run.scenarios
    return replace(run, scenarios=(replace(scenario, script=str(script)),))


def test_script_is_shown_as_it_ran(tmp_path: Path) -> None:
    """It is redacted; one that changed since is only named."""
    ran = make_scripted(tmp_path, b"echo secret\n", hashlib.sha256(b"echo secret\n").hexdigest())
    changed = make_scripted(tmp_path, b"echo new\n", "0" * 64)

    def redact(scenario: ScenarioRecord, text: str) -> str:
        return text.replace("secret", f"[redacted {scenario.name}]")

    assert run_files.read_scripts(changed.scenarios, keep) == ({}, frozenset({"one"}))
    (tmp_path / "one.sh").write_bytes(b"echo secret\n")
    assert run_files.read_scripts(ran.scenarios, redact) == (
        {"one": "echo [redacted one]\n"},
        frozenset(),
    )


def test_file_without_a_recorded_hash_is_not_shown(tmp_path: Path) -> None:
    """A forged record could name any file; its hash is known only to those who know the file."""
    run = make_scripted(tmp_path, b"root:x:0", "")

    assert run_files.read_scripts(run.scenarios, keep) == ({}, frozenset())


def test_missing_or_large_script_is_left_out(tmp_path: Path) -> None:
    """A report is never refused because of a script."""
    large = b"#" * 300_000
    run = make_scripted(tmp_path, large, hashlib.sha256(large).hexdigest())
    assert run_files.read_scripts(run.scenarios, keep) == ({}, frozenset())

    (tmp_path / "one.sh").unlink()
    assert run_files.read_scripts(run.scenarios, keep) == ({}, frozenset())


def test_earlier_outcomes_are_read_oldest_first(tmp_path: Path) -> None:
    """The run itself, later ones and other scenarios do not count."""
    first = replace(past_runs.PASSED, script_sha256="ab", phases={"run": 1.5})
    record(tmp_path, first)
    record(tmp_path, past_runs.FAILED)
    record(tmp_path, past_runs.FAILED, name="other")
    run = record(tmp_path, past_runs.PASSED)
    record(tmp_path, past_runs.FAILED)

    past = run_files.read_past(run)

    assert {*past} == {"one"}
    assert [(item.outcome, item.seconds, item.inputs) for item in past["one"]] == [
        (Outcome.PASS, 1.5, ("0123456789abcdef" * 4, "ab")),
        (Outcome.FAIL, 0.0, ("0123456789abcdef" * 4, "")),
    ]
    assert past["one"][0].run < past["one"][1].run < run.id


def test_unreadable_earlier_run_is_left_out(tmp_path: Path) -> None:
    """An invalid header, an invalid result and one that is missing hide nothing else."""
    damaged = [Path(record(tmp_path, past_runs.PASSED).record or "") for _ in range(4)]
    (damaged[0] / HEADER).write_text("[]")
    (damaged[1] / "one" / RESULT).write_text('{"outcome": "GREAT"}')
    (damaged[2] / "one" / RESULT).unlink()
    header = json.loads((damaged[3] / HEADER).read_text())
    (damaged[3] / HEADER).write_text(json.dumps({**header, "schema_version": 2}))
    record(tmp_path, past_runs.FAILED)

    past = run_files.read_past(record(tmp_path, past_runs.PASSED))

    assert [item.outcome for item in past["one"]] == [Outcome.FAIL]


def test_run_without_a_record_has_no_past() -> None:
    """There is no directory to look into."""
    run = records.make_record(records.make_passed(), record=None)

    assert run_files.read_past(run) == {}


def test_moved_record_reads_its_new_neighbours(tmp_path: Path) -> None:
    """Nothing is read from where the record was made."""
    run = record(tmp_path, past_runs.PASSED)

    assert run_files.read_past(replace(run, record="/nowhere/x")) == {}
