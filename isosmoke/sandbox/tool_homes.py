"""Directories of tools that PATH does not name: those of variables, and packages elsewhere."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

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

_SITES = tuple(
    f"{prefix}python*/{name}"
    for prefix in ("", "lib/", "*/lib/", "versions/*/lib/")
    for name in ("site-packages", "dist-packages")
)

_MODULES = ("node_modules", "lib/node_modules", "*/lib/node_modules", "versions/*/lib/node_modules")


def list_named(variables: Mapping[str, str], home: Path) -> Iterator[Path]:
    """Yield the directory that each of the `VARIABLES` names, under each of its names."""
    for directory in _list_directories(variables).values():
        if is_open(directory) and not contains_home(directory, home):
            yield from (directory, directory.resolve())


def list_hidden(variables: Mapping[str, str], home: Path) -> Iterator[str]:
    """Yield the name and value of each of the `VARIABLES` whose directory cannot be mounted."""
    for name, directory in _list_directories(variables).items():
        if is_open(directory) and contains_home(directory, home):
            yield f"{name}={directory}"


def _list_directories(variables: Mapping[str, str]) -> Mapping[str, Path]:
    paths = {name: Path(os.path.normpath(variables.get(name) or ".")) for name in VARIABLES}
    return {name: path for name, path in paths.items() if path.is_absolute()}


def list_python_roots(variables: Mapping[str, str], home: Path) -> Iterator[Path]:
    """Yield the directories of Python packages that the user installed without an environment."""
    base = Path(variables.get("PYTHONUSERBASE") or home / ".local")
    if base.is_absolute():
        yield from (root for root in base.glob("lib/python3*") if is_open(root))


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


def is_open(directory: Path) -> bool:
    """Return whether the caller may search a directory.

    Under sudo, a variable or PATH may name another user's directories. They are skipped.
    """
    return os.access(directory, os.X_OK) and directory.is_dir()


def list_packages(roots: Iterable[Path], home: Path) -> Iterator[Path]:
    """Yield the directories of the packages that are linked or installed as editable in `roots`."""
    for root in roots:
        found = (*_list_editable(root), *_list_linked(root))
        yield from (
            package
            for package in found
            if package.is_absolute() and is_open(package) and not contains_home(package, home)
        )


def _list_editable(root: Path) -> Iterator[Path]:
    """Yield the source directories of a Python environment (PEP 610; the module `site`)."""
    for pattern in _SITES:
        for site in root.glob(pattern):
            for file in site.glob("*.dist-info/direct_url.json"):
                yield from _read_direct_url(file)
            for file in (*site.glob("*.pth"), *site.glob("*.egg-link")):
                yield from _read_paths(file)


def _is_path(line: str) -> bool:
    """Return whether a line of a path configuration file is a path (the module `site`)."""
    return bool(line.strip()) and not line.startswith(("#", "import ", "import\t"))


def _read_direct_url(file: Path) -> Iterator[Path]:
    with suppress(OSError, ValueError, AttributeError):
        content = json.loads(file.read_text())
        url = urlsplit(str(content.get("url", "")))
        if url.scheme == "file" and content.get("dir_info", {}).get("editable"):
            yield Path(os.path.normpath(unquote(url.path)))


def _read_paths(file: Path) -> Iterator[Path]:
    with suppress(OSError, ValueError):
        for line in filter(_is_path, file.read_text().splitlines()):
            yield Path(os.path.normpath(file.parent / line.rstrip()))


def _list_linked(root: Path) -> Iterator[Path]:
    """Yield the packages that `node_modules` directories link to, as `npm link` does."""
    modules = [found for pattern in _MODULES for found in root.glob(pattern)]
    for directory in (root, *modules) if root.name == "node_modules" else modules:
        for package in (*directory.glob("*"), *directory.glob("@*/*")):
            if package.is_symlink():
                yield Path(os.path.realpath(package))


def find_package(file: Path, home: Path) -> Path | None:
    """Return the directory of the Node.js package that contains a file; None if there is none."""
    for directory in file.parents:
        if contains_home(directory, home):
            return None
        if os.access(directory / "package.json", os.F_OK):
            return directory
    return None
