"""Small files that isosmoke adds to a sandbox: the user database and git's identity."""

import hashlib
from contextlib import suppress
from pathlib import Path

from isosmoke.host import files, state
from isosmoke.host.caller_process import Caller

_NOBODY = 65534


def store_text(text: str) -> Path:
    """Store a text in a file that is named by its hash and readable by any user of a sandbox."""
    return _store(text.encode(errors="surrogateescape"), mode=0o644)


def store_program(program: Path) -> Path:
    """Copy a program into the state directory, which every engine can see; its hash is its name."""
    return _store(program.read_bytes(), mode=0o755)


def _store(content: bytes, *, mode: int) -> Path:
    """Return the stored file with this content; replace one that has changed since."""
    path = state.ensure_directory("files") / hashlib.sha256(content).hexdigest()
    with suppress(OSError):  # it is missing, or is not a regular file
        if files.read(path, follow=False) == content and path.stat().st_mode & 0o777 == mode:
            return path
    return files.write(path, content, mode=mode)


def render_gitconfig(user: str) -> str:
    """Return system-wide git settings: an identity, and trust in the sandbox's directories.

    The directories are throw-away copies.
    """
    return (
        "[include]\n\tpath = /etc/gitconfig\n"
        f"[user]\n\tname = {_quoted(user)}\n\temail = {_quoted(f'{user}@isosmoke.invalid')}\n"
        "[safe]\n\tdirectory = *\n"
    )


def _quoted(value: str) -> str:
    """Quote a value for a git configuration: a bare backslash is a syntax error (git-config(1))."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def has_entry(database: Path, number: int) -> bool:
    """Return whether a passwd or group file has an entry with this number."""
    return any(line.split(":")[2:3] == [str(number)] for line in _read_lines(database))


def render_passwd(caller: Caller, database: Path | None) -> str:
    """Return the image's passwd file, or a minimal one, with the caller added (passwd(5))."""
    entry = f"{caller.user}:x:{caller.uid}:{caller.gid}::{caller.home}:/bin/bash"
    minimal = ["root:x:0:0:root:/root:/bin/bash", f"nobody:x:{_NOBODY}:{_NOBODY}::/:/bin/false"]
    return _replace_entry(_read_lines(database) if database else minimal, entry)


def render_group(caller: Caller, database: Path | None) -> str:
    """Return the image's group file, or a minimal one, with the caller's group added (group(5))."""
    minimal = ["root:x:0:", "tty:x:5:", f"nogroup:x:{_NOBODY}:"]
    lines = _read_lines(database) if database else minimal
    return _replace_entry(lines, f"{caller.user}:x:{caller.gid}:")


def _replace_entry(lines: list[str], entry: str) -> str:
    number = entry.split(":")[2]
    others = [line for line in lines if line.split(":")[2:3] != [number]]
    return "\n".join([*others, entry, ""])


def _read_lines(database: Path) -> list[str]:
    with suppress(OSError):
        return database.read_text(errors="replace").splitlines()
    return []
