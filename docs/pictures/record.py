"""Record a real session at a terminal, and draw it for the README in two colour schemes.

`sh dev picture` runs this, and writes leak-light.svg and leak-dark.svg. Lines appear after the time
that they took. If a viewer prefers no motion, all of them are there from the start.
"""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

HERE = Path(__file__).parent

SCRIPT = """\
# The server of the shop answers.
python3 -m http.server 8731 >/dev/null 2>&1 &
until echo 2>/dev/null >/dev/tcp/localhost/8731; do sleep 0.1; done
echo "the server answers"
"""

COMMANDS = ("cat smoke.sh", "isosmoke run --network isolated -- bash smoke.sh", "echo $?")

COLUMNS = 100
_CHARACTER = (8.4, 20)
"""The width and height of a character, in pixels, for a font of 14 px."""

_MARGIN = 16
_SECONDS_BEFORE_COMMAND = 0.8

_SCHEMES = {
    "light": ("#ffffff", "#1f2328", "#d0d7de", ("#cf222e", "#1a7f37", "#9a6700", "#0969da")),
    "dark": ("#0d1117", "#e6edf3", "#30363d", ("#ff7b72", "#3fb950", "#d29922", "#58a6ff")),
}
"""Background, text, border, and red, green, yellow and blue, of each scheme."""

_CLASSES = {"1": "b", "2": "d", "31": "c0", "32": "c1", "33": "c2", "34": "c3", "36": "c3"}
"""The class for each parameter of SGR (ECMA-48) that isosmoke prints."""

_SEQUENCE = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])")


@dataclass(frozen=True, slots=True)
class Line:
    """A line as a terminal received it, and the time of its end, in seconds since the start."""

    text: str
    at: float


def record(working: Path, command: Sequence[str], environment: dict[str, str]) -> list[Line]:
    """Run a command at a terminal, without input, and return its lines."""
    master, slave = pty.openpty()
    start = monotonic()
    process = subprocess.Popen(
        command, cwd=working, env=environment, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    lines, pending = [], ""
    while select.select([master], [], [], 120)[0]:
        try:
            pending += os.read(master, 4096).decode()
        except OSError:  # the last writer has closed the terminal
            break
        *complete, pending = pending.split("\n")
        at = monotonic() - start
        lines += [Line(text.rstrip("\r"), at) for text in complete]
    process.wait()
    os.close(master)
    return lines


def record_session(directory: Path, isosmoke: Path) -> list[Line]:
    """Type each of `COMMANDS` in a project in `directory`; return prompts and output."""
    project = directory / "shop"
    project.mkdir()
    (project / "smoke.sh").write_text(SCRIPT)
    environment = {
        "PATH": f"{isosmoke.parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(directory),
        "ISOSMOKE_STATE": str(directory / "state"),
        "TERM": "xterm-256color",
        "COLUMNS": str(COLUMNS),
        "CI": "1",  # colours, but no line is drawn twice
        "FORCE_COLOR": "1",
    }
    lines: list[Line] = []
    status = 0
    for text in COMMANDS:
        begun = (lines[-1].at if lines else 0.0) + _SECONDS_BEFORE_COMMAND
        lines.append(Line(f"\x1b[34m$\x1b[0m \x1b[1m{text}\x1b[0m", begun))
        shell = ["bash", "-c", f"(exit {status}); {text}"]
        printed = record(project, shell, environment)
        lines += [Line(line.text, begun + line.at) for line in printed]
        status = 1 if text.startswith("isosmoke") else 0
    return lines


def strip_colours(text: str) -> str:
    """Return the text of a line."""
    return _SEQUENCE.sub("", text)


def read_line(row: str) -> str:
    """Return the text of a row of a picture; empty for any other line of the document."""
    return unescape(re.sub(r"<[^>]+>", "", row)) if row.startswith("<text") else ""


def draw(lines: Sequence[Line], scheme: str) -> str:
    """Return the recording as an SVG document."""
    background, text, border, colours = _SCHEMES[scheme]
    width = round(COLUMNS * _CHARACTER[0] + 2 * _MARGIN)
    height = len(lines) * _CHARACTER[1] + 2 * _MARGIN
    classes = "".join(f".c{number}{{fill:{colour}}}" for number, colour in enumerate(colours))
    rows = "\n".join(_draw_line(number, line) for number, line in enumerate(lines))
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">
<title>isosmoke catches a server that outlives its test</title>
<style>
text{{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;
fill:{text};white-space:pre}}
{classes}.b{{font-weight:700}}.d{{opacity:.7}}
@media (prefers-reduced-motion:no-preference){{
.l{{opacity:0;animation:show 1ms forwards}}@keyframes show{{to{{opacity:1}}}}}}
</style>
<rect x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="8"
fill="{background}" stroke="{border}"/>
{rows}
</svg>
"""


def _draw_line(number: int, line: Line) -> str:
    y = _MARGIN + number * _CHARACTER[1] + 14
    spans = "".join(_draw_spans(line.text))
    delay = f"animation-delay:{line.at:.1f}s"
    return f'<text class="l" style="{delay}" x="{_MARGIN}" y="{y}">{spans}</text>'


def _draw_spans(text: str) -> Iterator[str]:
    """Yield the pieces of a line, each with the classes of its colours."""
    current: tuple[str, ...] = ()
    position = 0
    for match in [*_SEQUENCE.finditer(text), None]:
        piece = escape(text[position : match.start() if match else len(text)])
        if piece:
            yield f'<tspan class="{" ".join(current)}">{piece}</tspan>' if current else piece
        if match:
            position = match.end()
            for parameter in match[1].split(";"):
                found = _CLASSES.get(parameter)
                current = (*current, found) if found else ()


def main() -> None:
    """Record the session at /home/me, and write both pictures."""
    isosmoke = Path(sys.prefix) / "commands/isosmoke"
    bwrap = shutil.which("bwrap") or sys.exit("record: install bubblewrap")
    if "ISOSMOKE_RECORDS" not in os.environ:
        with TemporaryDirectory() as directory:
            home = ["--tmpfs", "/home", "--bind", directory, "/home/me"]
            proc = ["--dev-bind", "/dev", "/dev", "--dev-bind", "/proc", "/proc"]
            command = [bwrap, "--bind", "/", "/", *proc, *home, sys.executable, __file__]
            subprocess.run(command, env={**os.environ, "ISOSMOKE_RECORDS": "1"}, check=True)
        return
    lines = record_session(Path("/home/me"), isosmoke)
    for scheme in _SCHEMES:
        (HERE / f"leak-{scheme}.svg").write_text(draw(lines, scheme))
    print(*(strip_colours(line.text) for line in lines), sep="\n")


if __name__ == "__main__":
    main()
