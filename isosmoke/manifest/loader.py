"""Manifest files: reading the text and checking that the scripts exist."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from isosmoke.errors import ManifestError
from isosmoke.host import files
from isosmoke.manifest import parser
from isosmoke.manifest.mirrors import mirror_source, mirror_text
from isosmoke.manifest.models import Manifest
from isosmoke.manifest.validation.diagnostics import Mistake, Source


def load(path: Path) -> Manifest:
    """Load the manifest at `path` and check that its scripts exist.

    If `path` is a mirror that `isosmoke bridge` wrote for wg, load the manifest that it mirrors.

    Raises:
        ManifestError: The manifest cannot be read, or it has mistakes; the message has one mistake
            on each line. Or `path` is not what `isosmoke bridge` would write for its source now.
    """
    source = _read(path)
    mirrored = mirror_source.parse_source(source.document)
    if mirrored is None:
        return _build(source)
    manifest = _build(_read(mirrored))
    if source.text != mirror_text.render(manifest, path.with_suffix(".sh").name):
        command = ("isosmoke", "bridge", "--manifest", str(mirrored), "--output", str(path))
        raise ManifestError(f"{path} no longer mirrors {mirrored}", hint=shlex.join(command))
    return manifest


def _build(source: Source) -> Manifest:
    return parser.build_manifest(source, _missing_scripts(source))


def _read(path: Path) -> Source:
    return parser.parse_source(_read_text(path), path)


def _read_text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ManifestError(
                f"{path}: is not a regular file",
                "name a manifest with --manifest, or create one with `isosmoke init`",
            )
        # wg accepts a byte order mark, so a manifest may begin with one.
        return files.read(path).decode("utf-8-sig")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ManifestError(
            f"{path}: {reason}",
            "check the path and its permissions, or name another manifest with --manifest",
        ) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ManifestError(f"{path}:{line}: is not UTF-8 text", "save it as UTF-8") from error


def _missing_scripts(source: Source) -> Iterator[Mistake]:
    directory = source.directory
    for number, entry in source.entries.items():
        script = entry.get("script")
        if isinstance(script, str) and (reason := _explain_missing(directory / script)):
            yield Mistake(
                ("scenario", number, "script"),
                f"{reason}: {directory / script}",
                f"create the script, or correct its path, which is relative to {directory}",
            )


def _explain_missing(script: Path) -> str:
    """Return why `script` is not a file; empty if it is one."""
    try:
        if script.is_file():
            return ""
        return "is not a file" if script.exists() else "no such file"
    except OSError as error:
        return (error.strerror or str(error)).lower()
