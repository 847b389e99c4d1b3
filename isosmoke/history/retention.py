"""Removal of old run records, by the manifest's limits, when a new run starts."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import accumulate
from pathlib import Path

from isosmoke.dataclass import dataclass
from isosmoke.history.layout import is_running, iter_run_directories, parse_start
from isosmoke.host.files import trees
from isosmoke.manifest.models import Retention


@dataclass(frozen=True, slots=True)
class _PastRun:
    """A past run: its directory, its age in whole days, and its size in bytes."""

    directory: Path
    days: int
    size: int


def remove_old_runs(runs: Path, retention: Retention, now: datetime) -> tuple[str, ...]:
    """Remove the records in `runs` that exceed the limits of `retention` at the time `now`.

    The newest record stays, as does the record of any run in progress. A record that cannot be
    removed is skipped. Return a message for each record that stays because the state of its run
    cannot be determined.

    Raises:
        OSError: if `runs` cannot be listed.
    """
    newest_first = sorted(iter_run_directories(runs), reverse=True)
    past = [
        _PastRun(directory, (now - parse_start(directory)).days, trees.measure_size(directory))
        for directory in newest_first
    ]
    return tuple(_remove_ended(_find_excess(past, retention)))


def _remove_ended(directories: Iterable[Path]) -> Iterator[str]:
    for directory in directories:
        try:
            is_live = is_running(directory)
        except OSError as error:
            reason = f"{error.filename}: {error.strerror}"
            yield f"{directory} is kept because its run may still be in progress: {reason}"
            continue
        if not is_live:
            with suppress(OSError):
                trees.remove(directory)


def _find_excess(past: Sequence[_PastRun], retention: Retention) -> Iterator[Path]:
    """Yield the runs that exceed `retention`, never the newest; `past` is sorted newest first."""
    sizes = accumulate(run.size for run in past)
    for number, (run, size) in list(enumerate(zip(past, sizes, strict=True), start=2))[1:]:
        too_much = size > retention.keep_size or number > retention.keep_runs
        if too_much or run.days >= retention.keep_days:
            yield run.directory
