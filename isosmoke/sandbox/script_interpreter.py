"""The program that runs the scripts of an image, as data."""

from pathlib import Path, PurePosixPath

from isosmoke.dataclass import dataclass
from isosmoke.sandbox.spec import HOST_IMAGE, ReadOnly


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The program that runs the scripts of an image.

    `path` is absolute. `source` is that file on this machine, and `copy`, if there is one, is the
    file mounted at `path` in the sandbox. If `source` and `sha256` are missing, `path` is a name
    that the keeper looks up in the directories of `search`.
    """

    image: str
    path: str
    sha256: str = ""
    source: Path | None = None
    copy: Path | None = None
    search: str = ""

    @property
    def name(self) -> str:
        """The name in receipts and records."""
        return self.path if self.image == HOST_IMAGE else f"{self.path} in {self.image}"

    @property
    def mounts(self) -> tuple[ReadOnly, ...]:
        """The mount of the hashed copy; empty without a copy."""
        return () if self.copy is None else (ReadOnly(self.copy, PurePosixPath(self.path)),)
