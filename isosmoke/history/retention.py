"""Remove the records of old runs when a new run starts, unless the manifest keeps them."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from pathlib import Path

from isosmoke.history.layout import is_running, run_folders, started_at
from isosmoke.host import files
from isosmoke.manifest.models import Retention


@dataclass(frozen=True, slots=True)
class _PastRun:
    """A past run: its directory, its age in whole days, and its size in bytes."""

    folder: Path
    days: int
    size: int


def forget_runs(runs: Path, retention: Retention, now: datetime) -> tuple[str, ...]:
    """Remove the records in `runs` that are too many, too old or too large at the time `now`.

    The newest one stays, and so does that of any run that goes on. A record that cannot be removed
    stops no run. Return a message for each record that stays because it cannot be told whether its
    run goes on, and `OSError` if `runs` cannot be listed.
    """
    newest_first = sorted(run_folders(runs), reverse=True)
    past = [_PastRun(one, (now - started_at(one)).days, _size(one)) for one in newest_first]
    return tuple(_remove_ended(_excess(past, retention)))


def _remove_ended(folders: Iterable[Path]) -> Iterator[str]:
    for folder in folders:
        try:
            is_live = is_running(folder)
        except OSError as error:
            yield (
                f"{folder} is kept, as its run may still go on: {error.filename}: {error.strerror}"
            )
            continue
        if not is_live:
            with suppress(OSError):
                files.remove(folder)


def _excess(past: Sequence[_PastRun], retention: Retention) -> Iterator[Path]:
    """Yield what exceeds `retention`, of runs that are sorted newest first; never the newest."""
    sizes = accumulate(one.size for one in past)
    for number, (run, size) in list(enumerate(zip(past, sizes, strict=True), start=2))[1:]:
        too_much = size > retention.keep_size or number > retention.keep_runs
        if too_much or run.days >= retention.keep_days:
            yield run.folder


def _size(folder: Path) -> int:
    """Return the size in bytes of what can be seen; the target of a link does not count."""
    pending, total = [os.fspath(folder)], 0
    while pending:
        with suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    return total
