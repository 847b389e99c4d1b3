"""Print the output of a scenario."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from isosmoke.errors import NothingSelectedError, RecordError
from isosmoke.history import reader
from isosmoke.host import files
from isosmoke.host.caller_process import Caller
from isosmoke.results.records.attempt import OutcomeRecord
from isosmoke.results.run_record import ScenarioRecord
from isosmoke.text import escape_controls


@click.command()
@click.argument("target", metavar="[RUN/]NAME")
@click.option(
    "--attempt",
    type=click.IntRange(min=1),
    help="Print the log of this attempt.  [default: the one that decided the outcome]",
)
def command(target: str, attempt: int | None) -> None:
    """Print the log of a scenario.

    The log is printed byte for byte; on a terminal, control characters are escaped. NAME without
    RUN selects the newest run that includes the scenario.
    """
    run, scenario = reader.find_scenario(target, Caller.current().working)
    record = _select_attempt(scenario, attempt) if attempt else scenario
    if record.output.log is None:
        reason = escape_controls(f"{record.outcome} {record.reason}".strip())
        raise NothingSelectedError(f"{scenario.name} has no log: {reason}")
    _print(reader.locate_log(run, scenario, record.output.log))


def _select_attempt(scenario: ScenarioRecord, number: int) -> OutcomeRecord:
    if number > len(scenario.attempts):
        last = len(scenario.attempts)
        raise NothingSelectedError(
            f"{scenario.name} has no attempt {number}; the last attempt is number {last}"
        )
    return scenario.attempts[number - 1]


def _print(log: Path) -> None:
    try:
        for line in _read_lines(log):
            sys.stdout.buffer.write(line)
    except OSError as error:
        if error.filename is None:
            raise  # stdout
        raise RecordError(f"{log}: {error.strerror}", hint="isosmoke runs") from error


def _read_lines(log: Path) -> Iterator[bytes]:
    is_terminal = sys.stdout.isatty()
    with files.open_regular(log, follow=False) as file:
        for line in file:
            yield _escape(line) if is_terminal else line


def _escape(line: bytes) -> bytes:
    text = escape_controls(line.decode(errors="replace").removesuffix("\n"))
    return f"{text}\n".encode(errors="replace")
