"""The manifest that a mirror stands for, found without loading either of them."""

from collections.abc import Mapping
from pathlib import Path

from isosmoke.host import files
from isosmoke.text import restore_bytes


def parse_source(document: Mapping[str, object]) -> Path | None:
    """Return the path of the manifest that a document mirrors; None if it is no mirror."""
    match document.get("bridge"):
        case {"source": str(source)}:
            return Path(restore_bytes(source))
        case _:
            return None


def find_source(path: Path) -> Path:
    """Return the manifest that `path` mirrors, also if the mirror is out of date; else `path`.

    A file that cannot be read or parsed is no mirror.
    """
    import tomli

    try:
        document = tomli.loads(files.read(path).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return path
    return parse_source(document) or path
