"""Print what a scenario printed."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from isosmoke.errors import NothingSelectedError, RecordError
from isosmoke.history import reader
from isosmoke.host.caller_process import Caller
from isosmoke.results.run_record import ScenarioRecord, Told
from isosmoke.text import printable


@click.command()
@click.argument("named", metavar="[RUN/]NAME")
@click.option("--attempt", type=click.IntRange(min=1), help="By default the one that tells most.")
def command(named: str, attempt: int | None) -> None:
    """Print the log of a scenario, byte by byte, or made visible where stdout is a terminal.

    NAME alone is the scenario in the newest run that had it.
    """
    run, scenario = reader.find_scenario(named, Caller.here().working)
    told = _attempt(scenario, attempt) if attempt else scenario
    if told.output.log is None:
        why = printable(f"{told.outcome} {told.reason}".strip())
        raise NothingSelectedError(f"{scenario.name} has no log: {why}")
    _print(reader.locate_log(run, scenario, told.output.log))


def _attempt(scenario: ScenarioRecord, number: int) -> Told:
    if number > len(scenario.attempts):
        last = len(scenario.attempts)
        raise NothingSelectedError(f"the last attempt at {scenario.name} is number {last}")
    return scenario.attempts[number - 1]


def _print(log: Path) -> None:
    try:
        for line in _lines(log):
            sys.stdout.buffer.write(line)
    except FileNotFoundError as error:
        raise RecordError(f"{log}: {error.strerror}") from error


def _lines(log: Path) -> Iterator[bytes]:
    visible = sys.stdout.isatty()
    with log.open("rb") as file:
        for line in file:
            yield _visible(line) if visible else line


def _visible(line: bytes) -> bytes:
    text = printable(line.decode(errors="replace").removesuffix("\n"))
    return f"{text}\n".encode(errors="replace")
