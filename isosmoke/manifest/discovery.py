"""Manifest discovery by the rules of wg, so that its gate and isosmoke read the same file."""

from collections.abc import Callable, Mapping
from pathlib import Path

from isosmoke.errors import ManifestError
from isosmoke.host.workspace_directories import git_top
from isosmoke.manifest.mirrors import mirror_source

WG_MANIFEST = Path("tests/smoke/manifest.toml")
"""The path of wg's manifest, relative to the top of a project."""

GRAPH_NAMES = (".wg", ".workgraph")
"""The names of wg's graph directory, the current one first."""


def find_graph_directory(cwd: Path, environ: Mapping[str, str]) -> Path:
    """Return the graph directory that wg would use in `cwd`; it need not exist."""
    if named := environ.get("WG_DIR"):
        return _resolve_graph(cwd / named).resolve()
    home = [Path(environ["HOME"])] if environ.get("HOME") else []
    directories = (cwd, *cwd.parents, *home)
    candidates = (directory / name for directory in directories for name in GRAPH_NAMES)
    return next((path for path in candidates if _is_true(path.is_dir)), cwd / ".wg").resolve()


def _resolve_graph(directory: Path) -> Path:
    if directory.name in GRAPH_NAMES or _is_true((directory / "graph.jsonl").is_file):
        return directory
    candidates = (directory / name for name in GRAPH_NAMES)
    return next((path for path in candidates if _is_true(path.is_dir)), directory)


def locate_manifest(cwd: Path, environ: Mapping[str, str]) -> Path:
    """Find the manifest as wg does, which runs git in its graph directory.

    Raises:
        ManifestError: There is no manifest, or `WG_SMOKE_MANIFEST` names a bridge of another
            project.
    """
    path = find_manifest(cwd, environ, git_top(find_graph_directory(cwd, environ)))
    if "WG_SMOKE_MANIFEST" in environ:
        _refuse_foreign_bridge(path, cwd, environ)
    return path


def locate_source(cwd: Path, environ: Mapping[str, str]) -> Path:
    """Find the manifest to mirror, as wg finds a manifest, but never a mirror.

    A mirror in `WG_SMOKE_MANIFEST` stands for its source, even if it is out of date. That of
    another project is ignored.
    """
    try:
        return mirror_source.find_source(locate_manifest(cwd, environ))
    except ManifestError:
        default = find_default_manifest(cwd, environ)
        if default is None:
            raise
        return default


def find_default_manifest(cwd: Path, environ: Mapping[str, str]) -> Path | None:
    """Return the manifest that wg would read without `WG_SMOKE_MANIFEST`; None if there is none."""
    unnamed = {name: value for name, value in environ.items() if name != "WG_SMOKE_MANIFEST"}
    try:
        return locate_manifest(cwd, unnamed)
    except ManifestError:
        return None


def find_manifest(cwd: Path, environ: Mapping[str, str], git_top: Path | None) -> Path:
    """Return the manifest that `wg done` would read, or else `manifest.toml` in `cwd`.

    wg uses `WG_SMOKE_MANIFEST` (relative to its graph directory) if it is set. Otherwise it
    searches the graph directory, the project that contains it, and the repository. `cwd` is
    absolute. `git_top` is the top level of the repository that contains the graph directory, or
    None if there is none.

    Raises:
        ManifestError: There is no manifest. The message lists every path tried. wg itself would
            silently pass.
    """
    graph = find_graph_directory(cwd, environ)
    if "WG_SMOKE_MANIFEST" in environ:
        return _require_file(graph / environ["WG_SMOKE_MANIFEST"])
    projects = (graph, graph.parent, *([git_top] if git_top else []))
    candidates = dict.fromkeys(
        [*(project / WG_MANIFEST for project in projects), cwd / "manifest.toml"]
    )
    for candidate in candidates:
        if _is_true(candidate.exists):
            return candidate
    tried = "".join(f"\n  {candidate}" for candidate in candidates)
    hint = "create one with `isosmoke init`, or name one with --manifest or WG_SMOKE_MANIFEST"
    raise ManifestError(f"no manifest found; tried:{tried}", hint)


def _refuse_foreign_bridge(path: Path, cwd: Path, environ: Mapping[str, str]) -> None:
    """Refuse a bridge that another project left in the environment: it gates nothing here."""
    source = mirror_source.find_source(path)
    here, there = _find_own_project(cwd, environ), _find_project(source.absolute().parent)
    if source != path and here and here != there:
        raise ManifestError(
            f"WG_SMOKE_MANIFEST names a bridge of another project, {there}, which gates nothing "
            f"in {here}",
            'unset WG_SMOKE_MANIFEST, or run `eval "$(isosmoke bridge)"` here after that',
        )


def _find_own_project(cwd: Path, environ: Mapping[str, str]) -> Path | None:
    """Return the project of the graph that wg would use in `cwd`; None outside of any project."""
    graph = find_graph_directory(cwd, environ)
    return graph.parent if _is_true(graph.is_dir) else _find_project(cwd)


def _find_project(directory: Path) -> Path | None:
    """Return the project of the nearest graph above, else the repository; None without both."""
    graphs = (step / name for step in (directory, *directory.parents) for name in GRAPH_NAMES)
    nearest = next((graph.resolve() for graph in graphs if _is_true(graph.is_dir)), None)
    top = git_top(directory)
    return nearest.parent if nearest else top and top.resolve()


def _require_file(path: Path) -> Path:
    if not _is_true(path.is_file):
        raise ManifestError(
            f"WG_SMOKE_MANIFEST names {path}, which is not a file",
            "correct the variable, or unset it to search the default locations",
        )
    return path


def _is_true(query: Callable[[], bool]) -> bool:
    """Return the result of a file system query, or False if it raises `OSError`, as in wg."""
    try:
        return query()
    except OSError:
        return False
