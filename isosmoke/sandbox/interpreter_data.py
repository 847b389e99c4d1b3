"""The program that runs the scripts of an image, as data."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from isosmoke.sandbox.spec import HOST_IMAGE, ReadOnly


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The program that runs the scripts of an image.

    `path` is absolute; `source` is the file that it means on this machine, and `copy`, once there
    is one, what is at `path` in the sandbox. Where source and `sha256` are missing, `path` is a
    name that the keeper looks for in the directories of `search`.
    """

    image: str
    path: str
    sha256: str = ""
    source: Path | None = None
    copy: Path | None = None
    search: str = ""

    @property
    def name(self) -> str:
        """How a receipt and a record name it."""
        return self.path if self.image == HOST_IMAGE else f"{self.path} in {self.image}"

    @property
    def mounts(self) -> tuple[ReadOnly, ...]:
        """What puts the hashed copy in its place."""
        return () if self.copy is None else (ReadOnly(self.copy, PurePosixPath(self.path)),)
