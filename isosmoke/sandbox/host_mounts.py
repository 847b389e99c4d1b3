"""The image made of the host's own folders: its system, and the tools on PATH wherever they live.

A tool under HOME comes without the rest of HOME. What comes is the tool's install prefix, and of
that only the folders that hold programs: `~/.fly/bin`, not the token in `~/.fly/config.yml`.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from isosmoke.host import files
from isosmoke.host.workspace_directories import holds_home, outermost
from isosmoke.sandbox.spec import Fresh, Mount, ReadOnly

_SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt"),
    *("/nix/store", "/gnu/store", "/snap", "/home/linuxbrew/.linuxbrew"),
)

_INSIDE_SYSTEM = tuple(f"{folder}/" for folder in _SYSTEM)

_PREFIX_FOLDERS = (
    *("bin", "sbin", "lib", "lib64", "libexec", "include", "share", "jmods"),
    *("shims", "versions", "version", "plugins", "installs", "tools", "toolchains"),
    *("pyvenv.cfg", "conda-meta"),
)
"""What a prefix holds besides secrets: FHS names, and those of pyenv, asdf, volta and JDKs."""

_SHARED_PREFIXES = (".local", ".cargo", "go")
"""Prefixes under HOME that many tools share: `share` there holds keyrings."""

_COMPANIONS = {".cargo/bin": (".rustup/toolchains", ".rustup/settings.toml")}
"""What the programs of a folder under HOME need besides: rustup's proxies start its toolchains."""

_SHEBANG_BYTES = 256


def host_mounts(path: str, home: Path, *, masked: bool) -> tuple[Mount, ...]:
    """The mounts of the host image for a PATH; `masked` hides what an ordinary user cannot read.

    Root's sandbox would otherwise see `/etc/shadow` and private keys.
    """
    system = [Path(one) for one in _SYSTEM if Path(one).is_dir()]
    wanted = {*system, *_resolver_target(), *_tool_roots(path, home)}
    mounts = [ReadOnly(root, PurePosixPath(root)) for root in outermost(wanted)]
    return (*mounts, *(_masks(Path("/etc")) if masked else ()))


def _resolver_target() -> Iterator[Path]:
    """`/etc/resolv.conf` is often a link into /run, which a sandbox has fresh."""
    target = Path("/etc/resolv.conf").resolve()
    if target.is_file():
        yield target


def _masks(folder: Path) -> Iterator[Mount]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            yield from _mask(entry)


def _mask(entry: "os.DirEntry[str]") -> Iterator[Mount]:
    if entry.is_symlink():
        return
    readable = entry.stat().st_mode & 0o004
    if not readable and entry.is_dir():
        yield Fresh(PurePosixPath(entry.path), 0)
    elif not readable:
        yield ReadOnly(Path(os.devnull), PurePosixPath(entry.path))
    elif entry.is_dir():
        yield from _masks(Path(entry.path))


def _tool_roots(path: str, home: Path) -> Iterator[Path]:
    """Every folder or file that the programs on PATH need."""
    for folder in dict.fromkeys(Path(word) for word in path.split(":")):
        if folder.is_absolute() and _is_open(folder) and not holds_home(folder, home):
            yield from _folder_roots(folder, home)


def _is_open(folder: Path) -> bool:
    """A PATH may name another user's folders, as sudo leaves it: those are no error."""
    return os.access(folder, os.X_OK) and folder.is_dir()


def _folder_roots(folder: Path, home: Path) -> Iterator[Path]:
    yield folder
    yield from _prefix_roots(folder, home)
    yield from _prefix_roots(folder.resolve(), home)
    yield from _companions(folder, home)
    with suppress(OSError), os.scandir(folder) as programs:
        for program in programs:
            yield from _program_roots(program, home)


def _prefix_roots(folder: Path, home: Path) -> Iterator[Path]:
    """The program folders of the prefix whose `bin` (or `shims`) this is."""
    prefix = folder.parent
    if folder.name not in ("bin", "sbin", "shims") or holds_home(prefix, home):
        return
    for name in _PREFIX_FOLDERS:
        shared = name == "share" and prefix.name in _SHARED_PREFIXES
        if not shared and os.access(prefix / name, os.F_OK):
            yield prefix / name
    if (prefix / "jmods").is_dir():
        yield prefix / "conf"  # a JDK does not start without; elsewhere it may hold secrets


def _companions(folder: Path, home: Path) -> Iterator[Path]:
    for place, companions in _COMPANIONS.items():
        if folder == home / place:
            yield from (home / one for one in companions if (home / one).exists())


def _may_lead_away(program: "os.DirEntry[str]", home: Path) -> bool:
    """Cheap, for the thousands in /usr/bin: there, a relative link stays inside the system."""
    if not program.path.startswith(_INSIDE_SYSTEM):
        return program.is_symlink() or program.path.startswith(f"{home}/")
    return program.is_symlink() and Path(program.path).readlink().is_absolute()


def _program_roots(program: "os.DirEntry[str]", home: Path) -> Iterator[Path]:
    """Where a link on PATH leads, and the interpreter that a script under HOME names."""
    if not _may_lead_away(program, home):
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
    """Each path that a link leads through by name: `current/bin/node` before `20/bin/node`."""
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
            named = line[2:].split()[0].decode()
            return None if named.startswith(_INSIDE_SYSTEM) else _existing(Path(named))
    return None


def _existing(path: Path) -> Path | None:
    return path if path.is_absolute() and path.exists() else None


def _target_roots(target: Path, home: Path) -> Iterator[Path]:
    """A program's prefix, its topmost `node_modules`, or the file alone."""
    modules = [one for one in target.parents if one.name == "node_modules"]
    if modules:
        yield modules[-1]
    elif target.parent.name in ("bin", "sbin") and not holds_home(target.parent, home):
        yield target.parent
        yield from _prefix_roots(target.parent, home)
    else:
        yield target
