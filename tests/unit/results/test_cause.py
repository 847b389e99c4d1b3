"""The line that says why a script failed, in real outputs of common programs."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.results.cause import find_cause, find_unexecuted_program
from isosmoke.text import strip_styles

OUTPUTS = Path(__file__).parent / "causes"

CAUSES = {
    "asan": "==23854==ERROR: AddressSanitizer: heap-use-after-free on address 0x602000000011",
    "bash-unset": "s.sh: line 2: UNSET: unbound variable",
    "bash-xtrace": "+ false",
    "c-assert": "aa: a.c:2: main: Assertion `1==2' failed.",
    "cargo-arg": "error: unexpected argument '--nosuch' found",
    "cmake": 'CMake Error: The source directory "/nonexistent" does not exist.',
    "coreutils": "ls: unrecognized option '--nosuch'",
    "curl": "curl: (7) Failed to connect to 127.0.0.1 port 1",
    "docker": "docker: Error response from daemon: Get ",
    "gcc": "b.c:2:20: error: ",
    "git-push": "fatal: not a git repository",
    "git-remote": "ssh: connect to host 127.0.0.1 port 22: Connection refused",
    "go-deadlock": "fatal error: all goroutines are asleep - deadlock!",
    "go-panic": "panic: assignment to entry in nil map",
    "java-chain": 'Caused by: java.lang.NumberFormatException: For input string: "x"',
    "java-compile": "B.java:1: error: incompatible types: String cannot be converted to int",
    "make": "b.c:2:20: error: ",
    "node-assert": "AssertionError [ERR_ASSERTION]: one is two",
    "node-listen": "Error: listen EADDRINUSE: address already in use :::45999",
    "node-module": "Error: Cannot find module './nothing'",
    "node-reject": "TypeError: no graph",
    "node-string": "boom",
    "node-throw": "Error: the task is not done",
    "npm-install": "npm error 404 Not Found - GET",
    "npm-missing": 'npm error Missing script: "nothing"',
    "perl-confess": "no route at -e line 1.",
    "psql": 'psql: error: connection to server at "127.0.0.1", port 1 failed: Connection refused',
    "python-argparse": "tool: error: argument --n: invalid int value: 'x'",
    "python-chain": "RuntimeError: the graph cannot be read",
    "python-group": "ExceptionGroup: two checks failed (2 sub-exceptions)",
    "python-syntax": "SyntaxError: invalid syntax",
    "rust-compile": "error[E0425]: cannot find value `y` in this scope",
    "rust-panic": 'called `Result::unwrap()` on an `Err` value: "no such task"',
    "rust-panic-plain": 'called `Result::unwrap()` on an `Err` value: "no such task"',
}


def test_every_output_has_an_expected_cause() -> None:
    """No file of the corpus is forgotten."""
    assert {file.stem for file in OUTPUTS.iterdir()} == set(CAUSES)


@pytest.mark.parametrize("name", CAUSES)
def test_cause_is_found_in_real_output(name: str) -> None:
    """The line says why the program failed, and not where, or what to try."""
    lines = (OUTPUTS / f"{name}.txt").read_text().splitlines()

    assert find_cause(lines).startswith(CAUSES[name])


@pytest.mark.parametrize("name", CAUSES)
def test_last_line_of_the_script_is_the_cause_after_a_known_output(name: str) -> None:
    """A script that handles a failure and says so itself has the last word."""
    lines = (OUTPUTS / f"{name}.txt").read_text().splitlines()

    assert find_cause([*lines, "the task was not done"]) == "the task was not done"


WG_BANNER = (
    "============================================================",
    "  SMOKE SCENARIO FAILED: chat-loads-history",
    "  reason: history was empty after reconnect  ",
    "============================================================",
    "",
)

PLAIN_OUTPUTS: list[tuple[str, tuple[str, ...], str]] = [
    ("nothing", (), ""),
    ("blank lines", ("", "   "), ""),
    ("a rule alone", ("=====", "-----"), ""),
    ("one line", ("it broke",), "it broke"),
    ("trailing rule", ("  it broke  ", "=======", ""), "it broke"),
    ("a banner of wg", WG_BANNER, "history was empty after reconnect"),
    ("in any case", ("REASON: Loud", "more"), "Loud"),
    ("behind a mark", ("# reason: hidden",), "hidden"),
    ("the last reason", ("reason: old", "reason: new", "bye"), "new"),
    ("a reason without words", ("reason:", "real words"), "real words"),
    ("a reason inside a sentence", ("for a reason: none", "end"), "end"),
    ("a status alone", ("exit status 2",), "exit status 2"),
    ("a status of make alone", ("make: *** [all] Error 1",), "make: *** [all] Error 1"),
    ("the end of a known output alone", ("Node.js v20.20.2",), "Node.js v20.20.2"),
    ("a frame alone", ("    at home",), "at home"),
    ("colours", ("\x1b[31m\x1b[Kreason: lost\x1b[m\x1b[K", "*"), "lost"),
    ("other scripts", ("失敗しました", "***"), "失敗しました"),
]


@pytest.mark.parametrize(
    ("lines", "cause"), [row[1:] for row in PLAIN_OUTPUTS], ids=[row[0] for row in PLAIN_OUTPUTS]
)
def test_cause_without_a_known_output(lines: tuple[str, ...], cause: str) -> None:
    """A stated reason is first, then the last line with a word in it."""
    assert find_cause(lines) == cause


@given(st.lists(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs"]))))
def test_cause_is_a_part_of_one_line(lines: list[str]) -> None:
    """The cause is never text that the script did not print."""
    cause = find_cause(lines)

    assert not cause or any(cause in strip_styles(line) for line in lines)


UNEXECUTED = {
    "s.sh: line 6: wg: command not found": "wg",
    "s.sh: line 2: /opt/x y/z: Permission denied": "/opt/x y/z",
    "bash: ./x: /opt/python: bad interpreter: No such file or directory": "/opt/python",
    "bash: line 1: ./x: cannot execute: required file not found": "./x",
    "sh: 1: tool: not found": "tool",
    "./x: 3: /a/b: not found": "/a/b",
    "sh: tool: not found": "tool",
    "zsh:1: command not found: tool": "tool",
    "env: \u2018tool\u2019: No such file or directory": "tool",
    "/usr/bin/env: 'tool': No such file or directory": "tool",
    "timeout: failed to run command \u2018tool\u2019: No such file or directory": "tool",
    "tool: No such file or directory": "tool",
    "it broke": "",
}
"""Messages of bash, dash, busybox, zsh, env, timeout and the keeper, and the program in each."""


@pytest.mark.parametrize(("message", "program"), UNEXECUTED.items())
def test_unexecuted_program_is_found(message: str, program: str) -> None:
    """The last message about a program that could not be executed has its name."""
    assert find_unexecuted_program(["env: 'other': other text", message, "at last"]) == program
