"""The mounts of the host image: the host's system directories and the tools on PATH.

A tool under HOME is mounted without the rest of HOME. Only those directories of its install prefix
that hold programs are mounted: `~/.fly/bin`, but not the token in `~/.fly/config.yml`.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from isosmoke.dataclass import dataclass
from isosmoke.host import files
from isosmoke.host.learned import disk_search, identities
from isosmoke.host.learned.disk_search import Disk
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

_LEARNED = "tools"
_CODE = ("sandbox/**/*.py", "host/learned/*.py", "host/workspace_directories.py")


def build_host_mounts(
    path: str,
    home: Path,
    *,
    masked: bool,
    variables: Mapping[str, str] = MappingProxyType({}),
    sources: Collection[Path] = (),
    recall: bool = False,
) -> tuple[Mount, ...]:
    """Return the mounts of the host image for a PATH and for the variables that name tools.

    Further `sources` are directories of packages. Files of credentials among the tools are hidden.
    With `masked`, so are system files that an ordinary user cannot read. With `recall`, tools that
    are known are not searched for while nothing that the search looked at has changed.
    """
    system = [Path(directory) for directory in _SYSTEM if Path(directory).is_dir()]
    named = {name: variables[name] for name in tool_homes.VARIABLES if name in variables}
    search = _Search(path, home, named, frozenset(sources))
    found = search.recall() if recall else search.search(Disk())
    tools, secrets = (tuple(map(Path, paths)) for paths in found)
    wanted = {*system, *_resolver_target(), *tools}
    mounts = [ReadOnly(root, PurePosixPath(root)) for root in find_outermost(wanted)]
    hidden = tuple(masks.list_root_masks(tools, home)) if masked else ()
    targets = {mask.target for mask in hidden}
    shown = (file for file in secrets if targets.isdisjoint((file, *file.parents)))
    return (*mounts, *hidden, *map(credentials.mask, shown))


@dataclass(frozen=True, slots=True)
class _Search:
    """A search for the tools of a PATH, variables and sources, and for the credentials in them."""

    path: str
    home: Path
    variables: Mapping[str, str]
    sources: frozenset[Path]

    def recall(self) -> Sequence[list[str]]:
        """Return what `search` returns; it is kept while nothing that it depends on changes."""
        basis = {
            "given": [self.path, str(self.home), dict(self.variables)],
            "sources": sorted(map(str, self.sources)),
            "rights": identities.identify_rights(),
            "code": identities.identify_code(_CODE),
        }
        found: Sequence[list[str]] = disk_search.find(_LEARNED, self.path, basis, self.search)
        return found

    def search(self, disk: Disk) -> Sequence[list[str]]:
        """Return the directories and files of the tools, and their files of credentials."""
        tools = self._list_tools(disk)
        secrets = credentials.find(disk, filter(_has_own_files, find_outermost(tools)))
        return sorted(map(str, tools)), [*map(str, secrets)]

    def _list_tools(self, disk: Disk) -> frozenset[Path]:
        """Return every directory or file that the programs on PATH need, and the sources."""
        named = tool_homes.list_named(disk, self.variables, self.home)
        roots = {*_tool_roots(disk, self.path, self.home), *named, *self.sources}
        packages = set(tool_homes.list_packages(disk, roots, self.home))
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


def _tool_roots(disk: Disk, path: str, home: Path) -> Iterator[Path]:
    """Yield the directories on PATH, and what their programs need.

    A system directory has thousands of programs, and often a second name: `/bin` is `/usr/bin`.
    What its programs need is the same under each name, so they are looked at once.
    """
    known: set[Path] = set()
    for directory in dict.fromkeys(Path(entry) for entry in path.split(":")):
        if (
            directory.is_absolute()
            and disk.is_open(directory)
            and not contains_home(directory, home, disk.resolve)
        ):
            yield from _directory_roots(disk, directory, home)
            real = disk.resolve(directory)
            if real not in known or not f"{directory}/".startswith(_INSIDE_SYSTEM):
                for program in disk.scan(str(directory)):
                    yield from _program_roots(disk, program, home)
            known.add(real)


def _directory_roots(disk: Disk, directory: Path, home: Path) -> Iterator[Path]:
    yield directory
    yield from _prefix_roots(disk, directory, home)
    yield from _prefix_roots(disk, disk.resolve(directory), home)
    yield from _companions(disk, directory, home)


def _prefix_roots(disk: Disk, directory: Path, home: Path) -> Iterator[Path]:
    """Yield the program directories of the prefix whose `bin`, `sbin` or `shims` this is."""
    prefix = directory.parent
    if not tool_homes.has_programs(directory) or contains_home(prefix, home, disk.resolve):
        return
    for name in _PREFIX_ENTRIES:
        is_shared = name == "share" and prefix.name in _SHARED_PREFIXES
        if not is_shared and disk.exists(prefix / name):
            yield prefix / name
    if disk.is_directory(prefix / "jmods"):
        yield prefix / "conf"  # a JDK does not start without it; elsewhere it may hold secrets


def _companions(disk: Disk, directory: Path, home: Path) -> Iterator[Path]:
    for name, companions in _COMPANIONS.items():
        if directory == home / name:
            yield from (home / path for path in companions if disk.exists(home / path))


def _may_need_more(program: "os.DirEntry[str]", home: Path) -> bool:
    """Return whether a program may need files outside the system directories.

    This check is cheap because /usr/bin has thousands of entries. A relative link there stays
    inside the system directories.
    """
    if not program.path.startswith(_INSIDE_SYSTEM):
        return program.is_symlink() or program.path.startswith(f"{home}/")
    return program.is_symlink() and os.readlink(program.path).startswith("/")  # noqa: PTH115


def _program_roots(disk: Disk, program: "os.DirEntry[str]", home: Path) -> Iterator[Path]:
    """Yield the targets of a link on PATH, and the interpreter of a script under HOME."""
    if not _may_need_more(program, home):
        return
    real = disk.resolve_entry(program)
    if real.startswith(_INSIDE_SYSTEM):
        return
    target = Path(real)
    if program.is_symlink() and disk.is_file(target):
        for step in (*_steps(disk, Path(program.path)), target):
            yield from _target_roots(disk, step, home)
    interpreter = _interpreter(disk, target) if target.is_relative_to(home) else None
    if interpreter is not None:
        yield from _target_roots(disk, interpreter, home)
        yield from _target_roots(disk, disk.resolve(interpreter), home)


def _steps(disk: Disk, link: Path) -> Iterator[Path]:
    """Yield each intermediate path of a chain of links, such as `current/bin/node`."""
    for _ in range(files.MAX_LINKS):
        if (content := disk.read_link(link)) is None:
            return
        link = Path(os.path.normpath(link.parent / content))
        if not disk.exists(link):
            return
        yield link


def _interpreter(disk: Disk, script: Path) -> Path | None:
    line = disk.read(str(script), _SHEBANG_BYTES).split(b"\n")[0]
    with suppress(IndexError, UnicodeDecodeError):
        if line.startswith(b"#!"):
            path = Path(line[2:].split()[0].decode())
            is_usable = path.is_absolute() and not f"{path}".startswith(_INSIDE_SYSTEM)
            return path if is_usable and disk.exists(path) else None
    return None


def _target_roots(disk: Disk, target: Path, home: Path) -> Iterator[Path]:
    """Yield a program's prefix, its topmost `node_modules`, its package, or only the file."""
    modules = [parent for parent in target.parents if parent.name == "node_modules"]
    if modules:
        yield modules[-1]
    elif target.parent.name in ("bin", "sbin") and not contains_home(
        target.parent, home, disk.resolve
    ):
        yield target.parent
        yield from _prefix_roots(disk, target.parent, home)
    else:
        yield tool_homes.find_package(disk, target, home) or target
