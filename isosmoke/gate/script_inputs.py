"""Discovery of the files that scripts read: sourced files, and files named in the manifest's tree.

Nothing is executed, so the result errs on the side of too many: a file that is only mentioned
counts as read.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from isosmoke.authoring.mentioned_files import SUFFIXES, find_mentions
from isosmoke.host import files
from isosmoke.host.repository.snapshots import VOLATILE


def list_paths(
    scripts: Iterable[Path], directories: Iterable[Path], *, exclude: Collection[Path]
) -> Mapping[Path, Path]:
    """Map each path under which `scripts` read a file to the resolved file, without `exclude`.

    A path may start from its script or from one of `directories`: the manifest's, and the top of
    the repository. A sourced file is followed wherever it is. A file that is only named counts if
    it is within `directories`, and is followed if it is a script itself.
    """
    tops = tuple(dict.fromkeys(directory.resolve() for directory in directories))
    excluded = {path.resolve() for path in exclude}
    pending = {script.resolve() for script in scripts}
    inputs: dict[Path, Path] = {}
    while pending:
        texts = {script: _read_text(script) for script in pending}
        sourced = {
            path: path.resolve()
            for script in texts
            for path in _find_sourced(script, texts[script], tops)
        }
        found = {**_find_named(texts, tops), **sourced}
        fresh = set(found.values()) - excluded - set(inputs.values())
        inputs |= {path: file for path, file in found.items() if file not in excluded}
        pending = {file for file in fresh if file in sourced.values() or _is_script(file)}
    return inputs


def _read_text(path: Path) -> str:
    try:
        return files.read(path).decode(errors="replace")
    except OSError:
        return ""


def _find_sourced(script: Path, text: str, tops: Iterable[Path]) -> Iterator[Path]:
    for target in find_mentions(text).sourced:
        for base in (script.parent, *tops):
            if _is_file(base / target):
                yield base / target


def _find_named(texts: dict[Path, str], tops: Collection[Path]) -> dict[Path, Path]:
    """Map the paths that a text names to files within `tops`.

    A path is relative to its script or to one of `tops`.
    """
    files: dict[Path, Path] = {}
    for parent in {script.parent for script in texts}:
        # Scripts of one directory share most candidates, and each costs a file system look-up.
        candidates = {
            candidate
            for script in texts
            if script.parent == parent
            for candidate in find_mentions(texts[script]).named
        }
        for base in (parent, *tops):
            files |= {
                base / candidate: (base / candidate).resolve()
                for candidate in candidates
                if _is_file(base / candidate)
            }
    return {
        path: file
        for path, file in files.items()
        if any(file.is_relative_to(top) and not _is_volatile(file, top) for top in tops)
    }


def _is_volatile(path: Path, directory: Path) -> bool:
    return not VOLATILE.isdisjoint(path.relative_to(directory).parts)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _is_script(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return path.suffix in SUFFIXES or file.read(2) == b"#!"
    except OSError:
        return False
