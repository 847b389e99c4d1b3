"""A manifest on disk: its text, and whether the scripts that it names are there."""

from collections.abc import Iterator
from pathlib import Path

from isosmoke.errors import ManifestError
from isosmoke.manifest import parser
from isosmoke.manifest.diagnostics import Mistake, Source
from isosmoke.manifest.models import Manifest


def load(path: Path) -> Manifest:
    """Return the manifest in the file `path`, whose scripts are all there.

    A mirror of one, which `isosmoke bridge` writes for wg, stands for the manifest that it mirrors.

    Raises:
        ManifestError: with all mistakes found, one on each line, or why it cannot be read.
    """
    source = _read(path)
    bridge = source.document.get("bridge")
    if isinstance(bridge, dict) and isinstance(bridge.get("source"), str):
        source = _read(Path(bridge["source"]))
    return parser.manifest_of(source, _missing_scripts(source))


def _read(path: Path) -> Source:
    return parser.source_of(_text(path), path)


def _text(path: Path) -> str:
    try:
        # wg's reader takes a byte order mark, so a manifest may begin with one.
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ManifestError(f"{path}: {reason}", "name a manifest that can be read") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ManifestError(f"{path}:{line}: is not UTF-8 text", "save it as UTF-8") from error


def _missing_scripts(source: Source) -> Iterator[Mistake]:
    folder = source.folder
    for number, entry in source.entries.items():
        script = entry.get("script")
        if isinstance(script, str) and (reason := _unrunnable(folder / script)):
            yield Mistake(
                ("scenario", number, "script"),
                f"{reason}: {folder / script}",
                f"a script lies relative to the folder of its manifest, {folder}",
            )


def _unrunnable(script: Path) -> str:
    """Why `script` is not there to be run; empty if it is."""
    try:
        if script.is_file():
            return ""
        return "is not a file" if script.exists() else "no such file"
    except OSError as error:
        return (error.strerror or str(error)).lower()
