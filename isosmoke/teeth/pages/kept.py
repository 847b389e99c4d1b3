"""The measurements of a project, next to the records of its runs."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from isosmoke.errors import IsosmokeError
from isosmoke.history import gate_records, layout
from isosmoke.host import files
from isosmoke.results.records.record_base import render_json
from isosmoke.results.run_record import RunRecord
from isosmoke.teeth.report import TeethDocument
from isosmoke.text import restore_bytes

_DIRECTORY = "teeth"
_KEPT = 10


def save(document: TeethDocument, working: Path) -> Path:
    """Write a measurement to the first writable home of a project, and return its path.

    The newest ones are kept.

    Raises:
        IsosmokeError: if no home is writable.
    """
    homes = layout.list_homes(layout.find_top(working))
    text, measured_at = render_json(document), document.measured_at or datetime.now(UTC)

    def write(home: Path) -> Path:
        directory = gate_records.create_directory(home, _DIRECTORY)
        path = directory / f"{layout.format_run_id(measured_at)}.json"
        files.write(path, text)
        for old in _list_files(directory)[:-_KEPT]:
            old.unlink(missing_ok=True)
        return path

    return gate_records.save_in_first(homes, write)


def load_newest(run: RunRecord) -> TeethDocument | None:
    """Return the newest measurement next to the record of a run; None without a readable one."""
    if not run.record or run.command:
        return None
    directory = Path(restore_bytes(run.record)).parent.parent / _DIRECTORY
    with suppress(OSError, IsosmokeError):
        files.refuse_links(directory.parent, directory)
        for path in reversed(_list_files(directory)):
            with suppress(OSError, ValidationError):
                return TeethDocument.model_validate_json(files.read(path, follow=False))
    return None


def _list_files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.suffix == ".json")
