"""The state of a bisection on disk, which survives a `kill -9`."""

import errno
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from isosmoke.dataclass import dataclass
from isosmoke.errors import RecordError, UsageError
from isosmoke.history import gate_records
from isosmoke.host import files
from isosmoke.investigation.bisection.bisection_record import BisectionState
from isosmoke.results.records.record_base import render_json

_DIRECTORY = "bisections"
_KEY_LENGTH = 12


def compute_key(inputs: Sequence[str]) -> str:
    """Return the name of a bisection: equal inputs continue the same one."""
    text = json.dumps(list(inputs), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_LENGTH]


@dataclass(frozen=True, slots=True)
class StateFile:
    """The directory of one bisection, with its state and the logs of its builds."""

    directory: Path

    @property
    def path(self) -> Path:
        """The file with the state."""
        return self.directory / "state.json"

    def load(self) -> BisectionState | None:
        """Return the state of an unfinished bisection; None if there is none.

        Raises:
            RecordError: if it cannot be read.
        """
        try:
            return BisectionState.model_validate_json(files.read(self.path, follow=False))
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            reason = str(error).splitlines()[0]
            raise RecordError(
                f"the state of this bisection cannot be read: {self.path}: {reason}",
                hint="start again: isosmoke bisect ... --restart",
            ) from error

    def save(self, state: BisectionState) -> None:
        """Write the state."""
        files.write(self.path, render_json(state))

    def remove(self) -> None:
        """Remove the state at the end of the bisection; the logs stay."""
        self.path.unlink(missing_ok=True)


@contextmanager
def open_state(homes: Sequence[Path], key: str) -> Iterator[StateFile]:
    """Create the directory of a bisection, and lock it while the context lasts.

    Raises:
        UsageError: if another process runs the same bisection.
        IsosmokeError: if no home is writable.
    """
    directory = gate_records.save_in_first(
        homes, lambda home: gate_records.create_directory(home, _DIRECTORY)
    )
    own = directory / key
    own.mkdir(exist_ok=True)
    files.refuse_links(own)
    try:
        with files.lock_directory(own, wait=False):
            yield StateFile(own)
    except OSError as error:
        if error.errno != errno.EAGAIN or error.filename is not None:
            raise
        raise UsageError(
            "the same bisection is already running", hint="wait for it, or interrupt it first"
        ) from error
