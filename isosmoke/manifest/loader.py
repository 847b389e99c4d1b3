"""Manifest files: reading the text and checking that the scripts exist."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from isosmoke.errors import ManifestError
from isosmoke.host import files
from isosmoke.manifest import validated_cache
from isosmoke.manifest.mirrors import mirror_source, mirror_text
from isosmoke.manifest.models import Manifest

if TYPE_CHECKING:
    from isosmoke.manifest.validation.diagnostics import Mistake, Source


def load(path: Path) -> Manifest:
    """Load the manifest at `path` and check that its scripts exist.

    If `path` is a mirror that `isosmoke bridge` wrote for wg, load the manifest that it mirrors.

    Raises:
        ManifestError: The manifest cannot be read, or it has mistakes; the message has one mistake
            on each line. Or `path` is not what `isosmoke bridge` would write for its source now.
    """
    return _load(path, _read_content(path))


def load_again(path: Path) -> Manifest:
    """Load the manifest at `path` as `load` does, faster if the same content was valid before.

    Not for a gate: see `isosmoke.manifest.validated_cache`.

    Raises:
        ManifestError: as `load`.
    """
    content = _read_content(path)
    kept = validated_cache.find(path, content)
    if kept is not None and all(_is_file(scenario.script_path) for scenario in kept.scenarios):
        return kept
    manifest = _load(path, content)
    if manifest.path == path:  # not a mirror
        validated_cache.keep(manifest, content)
    return manifest


def _is_file(script: Path) -> bool:
    return not _explain_missing(script)


def _load(path: Path, content: bytes) -> Manifest:
    from isosmoke.manifest import parser

    source = parser.parse_source(_decode(path, content), path)
    mirrored = mirror_source.parse_source(source.document)
    if mirrored is None:
        return parser.build_manifest(source, _missing_scripts(source))
    origin = parser.parse_source(_decode(mirrored, _read_content(mirrored)), mirrored)
    manifest = parser.build_manifest(origin, _missing_scripts(origin))
    if source.text != mirror_text.render(manifest, path.with_suffix(".sh").name):
        command = ("isosmoke", "bridge", "--manifest", str(mirrored), "--output", str(path))
        raise ManifestError(f"{path} no longer mirrors {mirrored}", hint=shlex.join(command))
    return manifest


def _read_content(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ManifestError(
                f"{path}: is not a regular file",
                "name a manifest with --manifest, or create one with `isosmoke init`",
            )
        return files.read(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ManifestError(
            f"{path}: {reason}",
            "check the path and its permissions, or name another manifest with --manifest",
        ) from error


def _decode(path: Path, content: bytes) -> str:
    try:
        # wg accepts a byte order mark, so a manifest may begin with one.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ManifestError(f"{path}:{line}: is not UTF-8 text", "save it as UTF-8") from error


def _missing_scripts(source: "Source") -> Iterator["Mistake"]:
    from isosmoke.manifest.validation.diagnostics import Mistake

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
