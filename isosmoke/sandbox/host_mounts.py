"""The mounts of the host image: the host's system directories and the tools on PATH.

A tool under HOME is mounted without the rest of HOME. Only those directories of its install prefix
that hold programs are mounted: `~/.fly/bin`, but not the token in `~/.fly/config.yml`.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from isosmoke.host import files
from isosmoke.host.workspace_directories import contains_home, find_outermost
from isosmoke.sandbox import credentials, masks, tool_homes
from isosmoke.sandbox.spec import Mount, ReadOnly

_SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt"),
    *("/nix/store", "/gnu/store", "/snap", "/home/linuxbrew/.linuxbrew"),
)

_INSIDE_SYSTEM = tuple(f"{directory}/" for directory in _SYSTEM)

_LOCAL = ("/usr/local/", "/opt/", "/home/linuxbrew/")

_PREFIX_ENTRIES = (
    *("bin", "sbin", "lib", "lib64", "libexec", "include", "share", "jmods"),
    *("shims", "versions", "version", "plugins", "installs", "tools", "toolchains"),
    *("pyvenv.cfg", "conda-meta"),
)
"""Entries of an install prefix that hold no secrets: FHS names, and pyenv, asdf, volta and JDKs."""

_SHARED_PREFIXES = (".local", ".cargo", "go")
"""Prefixes under HOME that many tools share; their `share` directory can hold keyrings."""

_COMPANIONS = {".cargo/bin": (".rustup/toolchains", ".rustup/settings.toml")}
"""Paths under HOME that the programs of another directory need.

rustup's proxies start its toolchains.
"""

_SHEBANG_BYTES = 256


def build_host_mounts(
    path: str,
    home: Path,
    *,
    masked: bool,
    variables: Mapping[str, str] = MappingProxyType({}),
    sources: Collection[Path] = (),
) -> tuple[Mount, ...]:
    """Return the mounts of the host image for a PATH and for the variables that name tools.

    Further `sources` are directories of packages. Files of credentials among the tools are hidden.
    With `masked`, so are system files that an ordinary user cannot read.
    """
    system = [Path(directory) for directory in _SYSTEM if Path(directory).is_dir()]
    tools = _list_tools(path, home, variables, sources)
    wanted = {*system, *_resolver_target(), *tools}
    mounts = [ReadOnly(root, PurePosixPath(root)) for root in find_outermost(wanted)]
    hidden = tuple(masks.list_root_masks(tools, home)) if masked else ()
    targets = {mask.target for mask in hidden}
    secrets = (
        mask
        for mask in credentials.list_masks(filter(_has_own_files, find_outermost(tools)))
        if targets.isdisjoint((mask.target, *mask.target.parents))
    )
    return (*mounts, *hidden, *secrets)


def _list_tools(
    path: str, home: Path, variables: Mapping[str, str], sources: Collection[Path]
) -> frozenset[Path]:
    """Return every directory or file that the programs on PATH need, and the `sources`."""
    roots = {*_tool_roots(path, home), *tool_homes.list_named(variables, home), *sources}
    packages = set(tool_homes.list_packages(roots, home))
    return frozenset(root for root in roots | packages if not _is_of_kernel(root))


def _is_of_kernel(path: Path) -> bool:
    """Return whether the kernel provides a file, such as the target of /etc/mtab.

    A sandbox has its own, so a link on PATH that leads there needs no mount.
    """
    return path.parts[1:2] in (("proc",), ("sys",), ("dev",))


def _has_own_files(root: Path) -> bool:
    """Return whether an administrator or a user, and not the distribution, filled a directory."""
    return not f"{root}/".startswith(_INSIDE_SYSTEM) or f"{root}/".startswith(_LOCAL)


def _resolver_target() -> Iterator[Path]:
    """Yield the file that `/etc/resolv.conf` links to, often in /run, which a sandbox replaces."""
    target = Path("/etc/resolv.conf").resolve()
    if target.is_file():
        yield target


def _tool_roots(path: str, home: Path) -> Iterator[Path]:
    """Yield the directories on PATH, and what their programs need.

    A system directory has thousands of programs, and often a second name: `/bin` is `/usr/bin`.
    What its programs need is the same under each name, so they are looked at once.
    """
    known: set[Path] = set()
    for directory in dict.fromkeys(Path(entry) for entry in path.split(":")):
        if (
            directory.is_absolute()
            and tool_homes.is_open(directory)
            and not contains_home(directory, home)
        ):
            yield from _directory_roots(directory, home)
            real = directory.resolve()
            if real not in known or not f"{directory}/".startswith(_INSIDE_SYSTEM):
                yield from _programs_roots(directory, home)
            known.add(real)


def _directory_roots(directory: Path, home: Path) -> Iterator[Path]:
    yield directory
    yield from _prefix_roots(directory, home)
    yield from _prefix_roots(directory.resolve(), home)
    yield from _companions(directory, home)


def _programs_roots(directory: Path, home: Path) -> Iterator[Path]:
    with suppress(OSError), os.scandir(directory) as programs:
        for program in programs:
            yield from _program_roots(program, home)


def _prefix_roots(directory: Path, home: Path) -> Iterator[Path]:
    """Yield the program directories of the prefix whose `bin`, `sbin` or `shims` this is."""
    prefix = directory.parent
    if directory.name not in ("bin", "sbin", "shims") or contains_home(prefix, home):
        return
    for name in _PREFIX_ENTRIES:
        is_shared = name == "share" and prefix.name in _SHARED_PREFIXES
        if not is_shared and os.access(prefix / name, os.F_OK):
            yield prefix / name
    if (prefix / "jmods").is_dir():
        yield prefix / "conf"  # a JDK does not start without it; elsewhere it may hold secrets


def _companions(directory: Path, home: Path) -> Iterator[Path]:
    for name, companions in _COMPANIONS.items():
        if directory == home / name:
            yield from (home / path for path in companions if (home / path).exists())


def _may_need_more(program: "os.DirEntry[str]", home: Path) -> bool:
    """Return whether a program may need files outside the system directories.

    This check is cheap because /usr/bin has thousands of entries. A relative link there stays
    inside the system directories.
    """
    if not program.path.startswith(_INSIDE_SYSTEM):
        return program.is_symlink() or program.path.startswith(f"{home}/")
    return program.is_symlink() and Path(program.path).readlink().is_absolute()


def _program_roots(program: "os.DirEntry[str]", home: Path) -> Iterator[Path]:
    """Yield the targets of a link on PATH, and the interpreter of a script under HOME."""
    if not _may_need_more(program, home):
        return
    real = os.path.realpath(program.path)
    if real.startswith(_INSIDE_SYSTEM):
        return
    target = Path(real)
    if program.is_symlink() and os.access(target, os.F_OK) and target.is_file():
        for step in (*_steps(Path(program.path)), target):
            yield from _target_roots(step, home)
    interpreter = _interpreter(target) if target.is_relative_to(home) else None
    if interpreter is not None:
        yield from _target_roots(interpreter, home)
        yield from _target_roots(interpreter.resolve(), home)


def _steps(link: Path) -> Iterator[Path]:
    """Yield each intermediate path of a chain of links, such as `current/bin/node`."""
    for _ in range(files.MAX_LINKS):
        if not link.is_symlink():
            return
        link = Path(os.path.normpath(link.parent / link.readlink()))
        if not os.access(link, os.F_OK):
            return
        yield link


def _interpreter(script: Path) -> Path | None:
    with suppress(OSError, IndexError, UnicodeDecodeError), script.open("rb") as file:
        line = file.read(_SHEBANG_BYTES).split(b"\n")[0]
        if line.startswith(b"#!"):
            name = line[2:].split()[0].decode()
            return None if name.startswith(_INSIDE_SYSTEM) else _existing(Path(name))
    return None


def _existing(path: Path) -> Path | None:
    return path if path.is_absolute() and path.exists() else None


def _target_roots(target: Path, home: Path) -> Iterator[Path]:
    """Yield a program's prefix, its topmost `node_modules`, its package, or only the file."""
    modules = [parent for parent in target.parents if parent.name == "node_modules"]
    if modules:
        yield modules[-1]
    elif target.parent.name in ("bin", "sbin") and not contains_home(target.parent, home):
        yield target.parent
        yield from _prefix_roots(target.parent, home)
    else:
        yield tool_homes.find_package(target, home) or target
