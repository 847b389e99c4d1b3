"""Directories of tools that PATH does not name: those of variables, and packages elsewhere."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from isosmoke.host.learned.disk_search import Disk
from isosmoke.host.workspace_directories import contains_home

VARIABLES = (
    *(
        "RUSTUP_HOME",
        "CARGO_HOME",
        "ELAN_HOME",
        "GOROOT",
        "GOENV_ROOT",
        "GHCUP_INSTALL_BASE_PREFIX",
    ),
    *("JAVA_HOME", "JDK_HOME", "JRE_HOME", "JENV_ROOT", "SDKMAN_DIR", "SDKMAN_CANDIDATES_DIR"),
    *("GRADLE_HOME", "MAVEN_HOME", "M2_HOME", "KOTLIN_HOME", "SCALA_HOME", "ANT_HOME"),
    *("PYENV_ROOT", "VIRTUAL_ENV", "CONDA_PREFIX", "MAMBA_ROOT_PREFIX", "PIPX_HOME"),
    *("UV_PYTHON_INSTALL_DIR", "UV_TOOL_DIR", "RBENV_ROOT", "PLENV_ROOT", "PHPENV_ROOT"),
    *("NVM_DIR", "NODENV_ROOT", "FNM_DIR", "N_PREFIX", "VOLTA_HOME", "PNPM_HOME", "BUN_INSTALL"),
    *("DENO_INSTALL", "ASDF_DIR", "ASDF_DATA_DIR", "MISE_DATA_DIR", "DOTNET_ROOT", "FLUTTER_ROOT"),
    *("ANDROID_HOME", "ANDROID_SDK_ROOT", "CUDA_HOME"),
)
"""Variables that name the directory of a version manager or of a toolchain."""

VERSION_VARIABLES = (
    *("RUSTUP_TOOLCHAIN", "GOTOOLCHAIN", "GOENV_VERSION", "JENV_VERSION", "PYENV_VERSION"),
    *("RBENV_VERSION", "PLENV_VERSION", "PHPENV_VERSION", "NODENV_VERSION"),
)
"""Variables that select one of the versions that a version manager has."""

PYTHON_VARIABLES = ("PYTHONPATH", "PYTHONUSERBASE")
"""Variables that tell Python where further packages are; a command has them as its caller has."""

_SITES = ("site-packages", "dist-packages")

_MODULES = "node_modules"


def has_programs(directory: Path) -> bool:
    """Return whether a directory is that of the programs of a prefix, by its name."""
    return directory.name in ("bin", "sbin", "shims")


def list_named(disk: Disk, variables: Mapping[str, str], home: Path) -> Iterator[Path]:
    """Yield the directory that each of the `VARIABLES` names, under each of its names."""
    for directory in _list_directories(variables).values():
        if disk.is_open(directory) and not contains_home(directory, home, disk.resolve):
            yield from (directory, disk.resolve(directory))


def list_hidden(variables: Mapping[str, str], home: Path) -> Iterator[str]:
    """Yield the name and value of each of the `VARIABLES` whose directory cannot be mounted."""
    disk = Disk()
    for name, directory in _list_directories(variables).items():
        if disk.is_open(directory) and contains_home(directory, home):
            yield f"{name}={directory}"


def _list_directories(variables: Mapping[str, str]) -> Mapping[str, Path]:
    paths = {name: Path(os.path.normpath(variables.get(name) or ".")) for name in VARIABLES}
    return {name: path for name, path in paths.items() if path.is_absolute()}


def list_python_roots(variables: Mapping[str, str], home: Path) -> Iterator[Path]:
    """Yield the directories of Python packages that the user installed without an environment."""
    base = Path(variables.get("PYTHONUSERBASE") or home / ".local")
    if base.is_absolute():
        yield from filter(Disk().is_open, base.glob("lib/python3*"))


def list_python_paths(variables: Mapping[str, str], working: Path, home: Path) -> Iterator[Path]:
    """Yield the directories and archives that PYTHONPATH names."""
    for entry in filter(None, variables.get("PYTHONPATH", "").split(":")):
        path = Path(os.path.normpath(working / entry))
        if os.access(path, os.R_OK) and not contains_home(path, home):
            yield path


def list_environments(argv: Iterable[str], directories: Iterable[Path]) -> Iterator[Path]:
    """Yield the directories of programs that a command finds without PATH.

    They are that of the program itself, and those of virtual environments in `directories`, which
    tools such as uv and poetry use.
    """
    directories = tuple(directories)
    program = next(iter(argv), "")
    if "/" in program and directories and os.access(directories[0] / program, os.X_OK):
        yield Path(os.path.normpath(directories[0] / program)).parent
    for directory in directories:
        yield from (file.parent / "bin" for file in directory.glob("*venv/pyvenv.cfg"))


def list_packages(disk: Disk, roots: Iterable[Path], home: Path) -> Iterator[Path]:
    """Yield the directories of the packages that are linked or installed as editable in `roots`.

    Under sudo, they may be another user's directories, which are skipped. So is a directory of
    programs, as its many links lead to programs and not to prefixes.
    """
    for root in roots:
        for package in () if has_programs(root) else _list_in_prefixes(disk, os.fspath(root)):
            is_usable = package.is_absolute() and disk.is_open(package)
            if is_usable and not contains_home(package, home, disk.resolve):
                yield package


def _list_in_prefixes(disk: Disk, root: str) -> Iterator[Path]:
    """Yield what the packages in a root link to: it is a prefix, and may have others in it.

    A search looks into hundreds of directories, most of which have no packages.
    """
    yield from _list_in_library(disk, root)
    for prefix in (root, *_list_inner(disk, root), *_list_inner(disk, f"{root}/versions")):
        yield from _list_in_library(disk, f"{prefix}/lib")
    if root.endswith(f"/{_MODULES}"):
        yield from _list_linked(disk, root)


def _list_in_library(disk: Disk, directory: str) -> Iterator[Path]:
    """Yield what packages link to in the directories of Python and Node.js in a directory."""
    for name in disk.list_names(directory):
        if name.startswith("python"):
            for site in _SITES:
                yield from _list_editable(disk, f"{directory}/{name}/{site}")
        elif name == _MODULES:
            yield from _list_linked(disk, f"{directory}/{name}")


def _list_inner(disk: Disk, directory: str) -> list[str]:
    """Return the paths in a directory that may be directories, or lead to one."""
    entries = disk.scan(directory)
    return [entry.path for entry in entries if not entry.is_file(follow_symlinks=False)]


def _list_editable(disk: Disk, site: str) -> Iterator[Path]:
    """Yield the source directories in a Python environment (PEP 610; the module `site`)."""
    for name in disk.list_names(site):
        if name.endswith(".dist-info"):
            yield from _read_direct_url(disk.read(f"{site}/{name}/direct_url.json"))
        elif name.endswith((".pth", ".egg-link")):
            yield from _read_paths(site, disk.read(f"{site}/{name}"))


def _is_path(line: str) -> bool:
    """Return whether a line of a path configuration file is a path (the module `site`)."""
    return bool(line.strip()) and not line.startswith(("#", "import ", "import\t"))


def _read_direct_url(text: bytes) -> Iterator[Path]:
    if not text:
        return
    with suppress(ValueError, AttributeError):
        content = json.loads(text)
        url = urlsplit(str(content.get("url", "")))
        if url.scheme == "file" and content.get("dir_info", {}).get("editable"):
            yield Path(os.path.normpath(unquote(url.path)))


def _read_paths(site: str, text: bytes) -> Iterator[Path]:
    with suppress(ValueError):
        for line in filter(_is_path, text.decode().splitlines()):
            yield Path(os.path.normpath(Path(site, line.rstrip())))


def _list_linked(disk: Disk, modules: str) -> Iterator[Path]:
    """Yield the packages that a `node_modules` directory links to, as `npm link` does."""
    for entry in disk.scan(modules):
        scope = disk.scan(entry.path) if entry.name.startswith("@") else ()
        for package in (entry, *scope):
            if package.is_symlink():
                yield Path(disk.resolve_text(package.path))


def find_package(disk: Disk, file: Path, home: Path) -> Path | None:
    """Return the directory of the Node.js package that contains a file; None if there is none."""
    for directory in file.parents:
        if contains_home(directory, home, disk.resolve):
            return None
        if disk.exists(directory / "package.json"):
            return directory
    return None
