"""The console: what a terminal, a pipe and the log of a CI system receive."""

import os
import pty
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from isosmoke.cli import find_commands
from isosmoke.cli.console import PlainPrinter, create_printer
from isosmoke.cli.interaction.rich_printer import RichPrinter
from isosmoke.reports import summary
from isosmoke.text import Line
from support import records
from support.terminal_screen import program


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the variables that the caller may have set."""
    for name in ("CI", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@contextmanager
def terminal() -> Iterator[None]:
    """Make stdout a terminal."""
    master, slave = pty.openpty()
    with open(slave, "w", encoding="utf-8") as stdout, redirect_stdout(stdout):  # noqa: PTH123
        yield
    os.close(master)


def test_forced_colour_does_not_make_a_pipe_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe gets colour, but no animation and no line breaks at a width that it does not have."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = create_printer()

    assert isinstance(console, RichPrinter)
    assert console.color_system
    assert not console.is_terminal
    assert not console.is_live


@pytest.mark.parametrize(
    ("variables", "is_live"),
    [({}, True), ({"CI": "true"}, False), ({"CI": "false"}, True), ({"TERM": "dumb"}, False)],
)
def test_only_an_interactive_terminal_is_redrawn(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], *, is_live: bool
) -> None:
    """The log of a CI system keeps every state, even if the system provides a terminal."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with terminal():
        console = create_printer()

        assert console.is_terminal
        assert console.is_live == is_live


def test_pipe_and_terminal_get_the_same_text() -> None:
    """A plain printer prints what a console of rich prints to a pipe."""
    run = records.make_record(*records.make_every_outcome(), notes=("Beware [red].",))
    hostile = records.make_hostile_record("tab\there \u00e4 [b]\n\tnext   ")
    lines = [
        *summary.render_run(run),
        *(part for each in run.scenarios for part in summary.render_scenario(run, each)),
        *summary.render_scenario(hostile, hostile.scenarios[0]),
        Line("a\tb\n\tc  ", "bold") + Line("d" * 300),
    ]
    plain, rich = StringIO(), StringIO()
    printer = PlainPrinter(plain)
    with redirect_stdout(rich):
        console = RichPrinter("auto")
        for line in lines:
            printer.print(line)
            console.print(line)

    assert plain.getvalue() == rich.getvalue()


def test_pipe_needs_no_rich() -> None:
    """The console of a pipe without forced colours is a plain printer."""
    with redirect_stdout(StringIO()):
        assert isinstance(create_printer(), PlainPrinter)


def test_error_wraps_at_words_on_a_terminal(tmp_path: Path) -> None:
    """No word of a message is split, but a hint is one line, because it can be a command."""
    names = " ".join(["word"] * 40)
    hint = "x " * 60
    code = (
        "from isosmoke.cli import print_error; from isosmoke.errors import UsageError;"
        f"print_error(UsageError('{names}', '{hint}'))"
    )
    command = [sys.executable, "-c", code]
    with program(command, working=tmp_path, environment=os.environ) as (screen, process):
        process.wait()
        screen.clear()

    *message, last = screen.seen.decode().splitlines()

    assert " ".join(message).split() == ["isosmoke:", *names.split()]
    assert len(message) > 1
    assert max(map(len, message)) <= 80
    assert last == f"  try: {hint}"


def test_usage_error_wraps_at_words_on_a_terminal(tmp_path: Path) -> None:
    """The list of all commands is longer than a row."""
    command = [sys.executable, "-m", "isosmoke", "zzz"]
    with program(command, working=tmp_path, environment=os.environ) as (screen, process):
        process.wait()
        screen.clear()

    rows = screen.seen.decode().splitlines()

    assert "Error: unknown command 'zzz'; available: " in screen.seen.decode()
    assert max(map(len, rows)) <= 80
    words = " ".join(rows).replace(",", " ").split()
    assert {*find_commands()} <= {*words}
