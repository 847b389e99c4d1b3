"""The directories that keep the records of a task: those of the project of its graph come first.

A work tree is removed when its task is done, but the graph and its project remain. The records of
the gate are therefore with the graph, wherever the gate was called from.
"""

from collections.abc import Iterator
from pathlib import Path

from isosmoke.history import gate_records
from isosmoke.host import git, state
from isosmoke.host.caller_process import Caller
from isosmoke.host.workspace_directories import git_top
from isosmoke.manifest import discovery


def find_graph(caller: Caller) -> Path | None:
    """Return the graph directory that wg would use, without links; None if there is none."""
    graph = discovery.find_graph_directory(caller.working, caller.environment)
    return graph if graph.is_dir() else None


def locate_graph(caller: Caller, manifest: Path | None) -> Path:
    """Return the graph directory of a caller's task; without one, its place in the main tree."""
    project = find_project(caller, manifest)
    main = git.find_tops(project, caller.environment)[0]
    return find_graph(caller) or main / discovery.GRAPH_NAMES[0]


def find_project(caller: Caller, manifest: Path | None) -> Path:
    """Return the directory of the caller's project: in a Git work tree, its working directory.

    Elsewhere it is the directory of `manifest`, or the working directory for None.
    """
    if manifest is None or git_top(caller.working):
        return caller.working
    return manifest.absolute().parent


def list_homes(caller: Caller, manifest: Path | None) -> tuple[Path, ...]:
    """Return the directories that can hold the records of a caller's task, most preferred first.

    Raises:
        UsageError: if a project has a symbolic link in place of its records.
    """
    return tuple(dict.fromkeys(_list_homes(caller, manifest)))


def _list_homes(caller: Caller, manifest: Path | None) -> Iterator[Path]:
    if graph := find_graph(caller):
        yield from _list_graph_homes(graph, caller)
    yield from gate_records.list_homes(find_project(caller, manifest), caller.environment)


def _list_graph_homes(graph: Path, caller: Caller) -> tuple[Path, ...]:
    """Return the homes of a graph; a graph in HOME is of no project, and HOME gets no records."""
    project = graph.parent if graph.name in discovery.GRAPH_NAMES else graph
    if project == caller.home.resolve():
        return (state.get_fallback_directory(project),)
    return gate_records.list_homes(project, caller.environment)
