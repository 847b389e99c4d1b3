"""Limits of what an archive or a directory may contain, so that its content fits this machine."""

from pathlib import PurePosixPath

from isosmoke.dataclass import dataclass
from isosmoke.errors import ImageError

_GIB = 1024**3
_HOLES = 4
"""The maximum of all sizes, as a multiple of the maximum of what is written."""

DEFAULT_MAX_SIZE = 16
"""The default limit of what is written, in GiB."""

MAX_DEPTH = 256
MAX_ENTRIES = 1_000_000
"""Limits of the nesting of directories, and of the number of entries."""


@dataclass(slots=True)
class Budget:
    """The limits of `source`, and how much of them is used; `max_size` is in GiB.

    The hints say what to do above the limit of sizes, and above the other limits.
    """

    source: object
    max_size: int = DEFAULT_MAX_SIZE
    max_entries: int = MAX_ENTRIES
    size_hint: str = "pass a larger --max-size to isosmoke image import if you trust the source"
    entries_hint: str = "name a system without the files that scenarios do not need"
    entries: int = 0
    written: int = 0
    total: int = 0

    def add_entry(self, path: PurePosixPath) -> None:
        """Count an entry.

        Raises:
            ImageError: if there are too many, or if its directories are nested too deeply.
        """
        self.entries += 1
        if self.entries > self.max_entries:
            raise ImageError(
                f"{self.source} has more than {self.max_entries} entries",
                hint=self.entries_hint,
            )
        if len(path.parts) > MAX_DEPTH:
            raise ImageError(
                f"{self.source} has directories nested deeper than {MAX_DEPTH}: "
                f"/{PurePosixPath(*path.parts[:3])}/...",
                hint=self.entries_hint,
            )

    def add_file(self, size: int) -> None:
        """Count the size of a file, including its holes; raise `ImageError` above the limit."""
        self.total += max(size, 0)
        if self.total > _HOLES * self.max_size * _GIB:
            raise self._create_size_error(_HOLES * self.max_size, "including holes")

    def add_written(self, size: int) -> None:
        """Count bytes to be written; raise `ImageError` above the limit."""
        self.written += size
        if self.written > self.max_size * _GIB:
            raise self._create_size_error(self.max_size, "without holes")

    def _create_size_error(self, limit: int, kind: str) -> ImageError:
        return ImageError(
            f"the files of {self.source} exceed {limit} GiB {kind}",
            hint=self.size_hint,
        )
