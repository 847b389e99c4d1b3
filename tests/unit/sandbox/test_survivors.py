"""The descriptions of a sandbox's processes."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.sandbox.survivors import Process, describe_process


def process(*argv: str, exe: str = "/usr/bin/x", listens: tuple[str, ...] = ()) -> Process:
    """Return a sleeping process with this command line."""
    return Process(
        pid=2,
        ppid=1,
        argv=argv,
        cwd="/work",
        exe=exe,
        age_seconds=1.04,
        state="S",
        listens=listens,
    )


@given(st.lists(st.text(min_size=1), min_size=1))
def test_command_line_reads_back_as_its_arguments(argv: list[str]) -> None:
    """A command line can be pasted into a shell: splitting it returns the arguments."""
    assert shlex.split(process(*argv, exe=argv[0]).command_line) == argv


@pytest.mark.parametrize(("exe", "shown"), [("/usr/bin/x", "[/usr/bin/x]"), ("", "[unknown]")])
def test_process_without_arguments_is_shown_by_its_program(exe: str, shown: str) -> None:
    """A process that wiped its arguments is shown by the path of its program."""
    assert process(exe=exe).command_line == shown


TITLES = [
    (("redis-server *:17399", "", "", ""), "/usr/bin/redis-check-rdb", "redis-server *:17399"),
    (("nginx: master process nginx",), "/usr/sbin/nginx", "nginx: master process nginx"),
    (("postgres: walwriter   ", ""), "/usr/lib/postgresql/15/bin/postgres", "postgres: walwriter"),
    (("/opt/my tool", ""), "/opt/my tool", "'/opt/my tool' ''"),
    (("sh", "", ""), "/bin/dash", "sh '' ''"),
]


@pytest.mark.parametrize(("argv", "exe", "shown"), TITLES)
def test_title_of_a_daemon_is_shown_as_ps_shows_it(
    argv: tuple[str, ...], exe: str, shown: str
) -> None:
    """A title that replaces the arguments is not quoted; other empty arguments are shown."""
    assert process(*argv, exe=exe).command_line == shown


def test_description_has_addresses_if_there_are_any() -> None:
    """The line has the PIDs, the command line, the listening addresses and the directory."""
    listening = process("serve", "a b", listens=("tcp 127.0.0.1:80", "unix /tmp/x"))

    assert describe_process(process("sleep", "9")) == "pid 2 ppid 1 S 1.0s  sleep 9  in /work"
    assert describe_process(listening) == (
        "pid 2 ppid 1 S 1.0s  serve 'a b'  listens tcp 127.0.0.1:80, unix /tmp/x  in /work"
    )
