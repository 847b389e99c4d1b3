"""Output files of reports, written atomically after a run or line by line during it."""

import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

from isosmoke.errors import RecordError
from isosmoke.host import files, workspace_directories
from isosmoke.host.caller_process import Caller
from isosmoke.redaction import Redactor
from isosmoke.reports import REPORTS
from isosmoke.results.run_record import RunRecord, ScenarioRecord

if TYPE_CHECKING:
    from isosmoke.reports.html.supplement import Teeth

STDOUT = "-"
"""The file name that means stdout."""


_HTML = "html"
_MAX_LOG_BYTES, _MIN_LOG_BYTES, _ALL_LOG_BYTES = 200_000, 4_000, 2_000_000


def render(kind: str, run: RunRecord) -> str:
    """Return a report; a page also has what the directories of the runs add to the record."""
    return _render_page(run) if kind == _HTML else REPORTS[kind](run)


def _render_page(run: RunRecord) -> str:
    from isosmoke.history import run_files
    from isosmoke.reports import html
    from isosmoke.reports.html.supplement import Supplement

    shown = html.select_complete(run)
    size = max(_MIN_LOG_BYTES, min(_MAX_LOG_BYTES, _ALL_LOG_BYTES // max(1, len(shown))))
    scripts, changed = run_files.read_scripts(shown, _redact_script)
    supplement = Supplement(
        scripts=scripts,
        changed=changed,
        logs=run_files.read_logs(run, shown, size),
        past=run_files.read_past(run),
        teeth=_load_teeth(run),
    )
    return html.render(run, supplement)


def _load_teeth(run: RunRecord) -> "Teeth | None":
    """Return the newest measurement of teeth next to the record of a run; None without one."""
    from isosmoke.teeth.pages import kept, matrices

    document = kept.load_newest(run)
    return matrices.describe(document, run) if document else None


def _redact_script(scenario: ScenarioRecord, text: str) -> str:
    """Replace the secrets that a scenario would receive now; a script may contain them.

    Raises:
        RecordError: if they are not known.
    """
    from isosmoke.repro import target
    from isosmoke.runner import secret_reader

    caller = Caller.current()
    if missing := [*target.find_missing_variables(scenario, caller.environment)]:
        raise RecordError(missing[0])
    definition = target.parse_entry(scenario.entry, caller.working)
    return Redactor(secret_reader.read_secrets(definition, caller)).text(text)


def resolve_target(file: str) -> Path:
    """Return the path, without symbolic links, that writing `file` would write.

    A repository may contain a link at the usual path of a report. Such a link is followed only
    within the repository. Outside of repositories a link belongs to the user and is followed.

    Raises:
        UsageError: If a link in a repository leads out of it.
    """
    path = Path(file).absolute()
    if any((directory / ".git").exists() for directory in path.parents):
        return files.resolve_in_project(path, workspace_directories.find_project(path))
    return path.resolve()


def write(file: str, content: str) -> None:
    """Write a file atomically, or write into it if it is a pipe or a device.

    Raises:
        OSError: If it cannot be written.
        UsageError: If a link in a repository leads out of it.
    """
    path = Path(file)
    if file == STDOUT:
        sys.stdout.buffer.write(content.encode())
        sys.stdout.buffer.flush()
    elif path.exists() and not path.is_file():
        resolve_target(file).write_text(content, encoding="utf-8")
    else:
        files.write(resolve_target(file), content)


class LineFile:
    """A file that receives lines as they are produced, and none after the first error.

    `file` is a path, or `-` for stdout.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._open: IO[bytes] | None = sys.stdout.buffer if file == STDOUT else None
        self._error: OSError | None = None

    def __call__(self, line: str) -> None:
        if self._error is None:
            try:
                self._write(line)
            except OSError as error:
                self._error = error

    def _write(self, line: str) -> None:
        if self._open is None:
            self._open = resolve_target(self._file).open("wb")
        self._open.write(line.encode())
        self._open.flush()

    def close(self) -> None:
        """Close the file, or raise the `OSError` that made it incomplete."""
        if self._error is not None:
            raise self._error
        if self._open is not None and self._file != STDOUT:
            self._open.close()
