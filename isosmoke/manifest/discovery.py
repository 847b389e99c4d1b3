"""Where the manifest is: by wg's own rules, so that its gate and isosmoke see the same file."""

from collections.abc import Callable, Mapping
from pathlib import Path

from isosmoke.errors import ManifestError
from isosmoke.host.workspace_directories import git_top

WG_MANIFEST = Path("tests/smoke/manifest.toml")
"""Where wg keeps its manifest, from the top of a project."""

GRAPH_NAMES = (".wg", ".workgraph")
"""What wg calls its graph folder, today's name first."""


def graph_folder(cwd: Path, environ: Mapping[str, str]) -> Path:
    """The graph folder that wg would use in `cwd`, by wg's own rules; it need not exist."""
    if named := environ.get("WG_DIR"):
        return _graph_in(cwd / named).resolve()
    home = [Path(environ["HOME"])] if environ.get("HOME") else []
    folders = (cwd, *cwd.parents, *home)
    places = (folder / name for folder in folders for name in GRAPH_NAMES)
    return next((place for place in places if _answer(place.is_dir)), cwd / ".wg").resolve()


def _graph_in(folder: Path) -> Path:
    if folder.name in GRAPH_NAMES or _answer((folder / "graph.jsonl").is_file):
        return folder
    places = (folder / name for name in GRAPH_NAMES)
    return next((place for place in places if _answer(place.is_dir)), folder)


def located(cwd: Path, environ: Mapping[str, str]) -> Path:
    """`find_manifest` as wg asks it: of git it asks from its graph folder."""
    return find_manifest(cwd, environ, git_top(graph_folder(cwd, environ)))


def find_manifest(cwd: Path, environ: Mapping[str, str], git_top: Path | None) -> Path:
    """The manifest that `wg done` would read, else `manifest.toml` in `cwd`.

    wg takes `WG_SMOKE_MANIFEST` (relative to its graph folder), else the manifest of the graph
    folder, of the project around that, or of the repository. `cwd` is absolute; `git_top` is the
    top level of the repository that `graph_folder` lies in, None if it lies in none.

    Raises:
        ManifestError: if there is none, with every place tried. wg would pass in silence.
    """
    graph = graph_folder(cwd, environ)
    if "WG_SMOKE_MANIFEST" in environ:
        return _named(graph / environ["WG_SMOKE_MANIFEST"])
    projects = (graph, graph.parent, *([git_top] if git_top else []))
    places = dict.fromkeys([*(one / WG_MANIFEST for one in projects), cwd / "manifest.toml"])
    for place in places:
        if _answer(place.exists):
            return place
    tried = "".join(f"\n  {place}" for place in places)
    hint = "isosmoke init makes one; --manifest or WG_SMOKE_MANIFEST names another"
    raise ManifestError(f"no manifest in any of{tried}", hint)


def _named(path: Path) -> Path:
    if not _answer(path.is_file):
        raise ManifestError(
            f"WG_SMOKE_MANIFEST names {path}, which is not a file",
            "correct it, or unset it to look where wg would look",
        )
    return path


def _answer(question: Callable[[], bool]) -> bool:
    """No, where the file system will not say, as for wg."""
    try:
        return question()
    except OSError:
        return False
