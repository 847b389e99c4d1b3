"""The line of a script's stderr that says why it failed (pure).

Most programs say it last. Common runtimes print stack frames, source lines or advice after it; how
each of them ends is a rule here, and `tests/unit/results/causes` has their real output.
"""

import re
from collections.abc import Sequence

from isosmoke.dataclass import dataclass
from isosmoke.text import strip_styles

MAX_LINES = 200
"""The number of lines at the end of an output in which a cause is searched."""

_MAX_WIDTH = 2000
_MAX_STATED_LINES = 12

_STATED_REASON = re.compile(r"^\W*reason:(?P<text>.*)", re.IGNORECASE)

_NO_CAUSE = re.compile(
    r"^\W*$"
    r"|^g?make(\[\d+\])?: \*\*\* "
    r"|^exit status \d+$"
    r"|^(Run|See|Specify|Try|Use) .*\bhelp\b"
)
"""Lines that only end an output: blank, advice, or the status of the program that failed."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """For an output whose last line matches `ending`, the cause is the last line that `cause` does.

    It is the `first` such line, or the one that is `following` it, if so chosen.
    """

    ending: str
    cause: str
    first: bool = False
    following: bool = False

    def find(self, lines: Sequence[str]) -> str:
        """Return the line with the cause; empty if this rule is for another kind of output."""
        if not re.search(self.ending, lines[-1]):
            return ""
        found = [at for at, line in enumerate(lines) if re.search(self.cause, line)]
        if not found:
            return ""
        at = found[0] if self.first else found[-1]
        later = lines[at + 1 :] if self.following else lines[at:]
        return next(filter(str.strip, later), "")


_PANIC_NOTE = r"^note: (run with `RUST_BACKTRACE|Some details)"

_RULES = (
    # Node.js: the source line, a caret, the error, frames; code that is evaluated has no caret.
    _Rule(r"^Node\.js v\d", r"^\s*\^+\s*$", following=True),
    # Go, of a panic and of a fatal error: the error, then goroutines with tab-indented places.
    _Rule(r"^\t/\S+\.(go|s):\d+", r"^(panic|fatal error): ", first=True),
    # Rust, since 1.73 with the message on its own line, and before.
    _Rule(
        r"^note: (run with `RUST_BACKTRACE|Some details)", r"panicked at [^'].*:$", following=True
    ),
    _Rule(_PANIC_NOTE, r"panicked at '"),
    # rustc and cargo: the first error, as the others often follow from it.
    _Rule(
        r"^For more information about (an|this) error, try|^error: (aborting|could not compile)",
        r"^error(\[E\d+\])?: ",
        first=True,
    ),
    # clap: the error, a tip, the usage.
    _Rule(r"^For more information, try '", r"^error: "),
    # C and Java compilers: the first error; source lines, notes and a count follow.
    _Rule(
        r"^(\s*\d* \| |\d+ errors?( generated\.)?$|compilation terminated|error: compilation failed"
        r"|\S+: note: |collect2: )",
        r"^\S+:\d+(:\d+)?: (fatal )?error: |: undefined reference to ",
        first=True,
    ),
    # Java and the languages of its virtual machine: the innermost exception, with its frames.
    _Rule(r"^\s+(at |\.\.\. \d+ (more|common frames))", r"^Caused by: |^Exception in thread "),
    # .NET and others whose frames are indented the same.
    _Rule(r"^\s+at ", r"^\S"),
    _Rule(r"^==\d+==ABORTING$", r"^==\d+==ERROR: "),
    _Rule(r"^npm (error|ERR!) A complete log", r"^npm \S+ (?!code |path |errno )\S", first=True),
    # Python: a group of exceptions is drawn as a tree.
    _Rule(r"^\s+\| ", r"^\s*\| \w*ExceptionGroup: "),
    _Rule(r"^and the repository exists\.$", r"^(?!fatal: |Please |and )\S"),
    _Rule(r"^\s+thrown in ", r"Uncaught "),
    # Perl, Ruby, PostgreSQL: frames or details after a tab.
    _Rule(r"^\t", r"^\S"),
)


_NOT_EXECUTED = re.compile(
    r"command not found: (?P<last>[^:]+)$"
    r"|(?:^|: )(?P<name>[^:]+): (?:bad interpreter: )?"
    r"(?:(?:command )?not found|No such file or directory|Permission denied"
    r"|cannot execute(?:: .+)?)$"
)
"""Messages of shells and of programs that start others, such as env and timeout."""

_QUOTED = re.compile(r"['\u2018](.+)['\u2019]$")


def find_unexecuted_program(lines: Sequence[str]) -> str:
    """Return the name or path of the program that could not be executed; empty if no line has it.

    `lines` are the last ones of the stderr of a script that ended with 126 or 127.
    """
    for line in reversed(lines[-_MAX_STATED_LINES:]):
        if message := _NOT_EXECUTED.search(strip_styles(line).rstrip()[:_MAX_WIDTH]):
            name = message["last"] or message["name"]
            quoted = _QUOTED.search(name)
            return quoted[1] if quoted else name
    return ""


def find_cause(lines: Sequence[str]) -> str:
    """Return the line that says why a script failed; empty if no line says anything.

    `lines` are the last ones of its stderr. A line `reason: …` near the end is a cause by its own
    account, and only what follows the colon is returned.
    """
    short = [strip_styles(line).rstrip()[:_MAX_WIDTH] for line in lines[-MAX_LINES:]]
    return _find_stated(short) or _find_in_known_output(short)


def _find_stated(lines: Sequence[str]) -> str:
    for line in reversed(lines[-_MAX_STATED_LINES:]):
        stated = _STATED_REASON.match(line)
        if stated and stated["text"].strip():
            return stated["text"].strip()
    return ""


def _find_in_known_output(lines: Sequence[str]) -> str:
    count = max((at for at, line in enumerate(lines, 1) if not _NO_CAUSE.search(line)), default=0)
    remaining = lines[:count]
    if not remaining:
        return next((line.strip() for line in reversed(lines) if re.search(r"\w", line)), "")
    found = next(filter(None, (rule.find(remaining) for rule in _RULES)), remaining[-1])
    return found.strip().removeprefix("| ")
