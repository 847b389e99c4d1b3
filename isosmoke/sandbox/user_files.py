"""Small files that isosmoke brings into a sandbox: the user database and git's identity."""

import hashlib
from contextlib import suppress
from pathlib import Path

from isosmoke.host import files, state
from isosmoke.host.caller_process import Caller

_NOBODY = 65534


def stored(text: str) -> Path:
    """A file with this text, named by its hash, that any user of a sandbox may read."""
    folder = state.kept("files")
    path = folder / hashlib.sha256(text.encode()).hexdigest()
    return path if path.exists() else files.write(path, text)


def placed(program: Path) -> Path:
    """A copy of a program, named by its hash: in the state folder, which every engine can see."""
    content = program.read_bytes()
    path = state.kept("files") / hashlib.sha256(content).hexdigest()
    return path if path.exists() else files.write(path, content, mode=0o755)


def gitconfig(user: str) -> str:
    """System-wide git settings: an identity, and trust in folders that are throw-away copies."""
    return (
        "[include]\n\tpath = /etc/gitconfig\n"
        f"[user]\n\tname = {_quoted(user)}\n\temail = {_quoted(f'{user}@isosmoke.invalid')}\n"
        "[safe]\n\tdirectory = *\n"
    )


def _quoted(value: str) -> str:
    """As git holds any text: a bare backslash would be a syntax error (git-config(1))."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def knows(database: Path, number: int) -> bool:
    """Whether a passwd or group file has an entry with this number."""
    return any(line.split(":")[2:3] == [str(number)] for line in _lines(database))


def passwd(caller: Caller, database: Path | None) -> str:
    """The image's passwd file, or a minimal one, with the caller added (passwd(5))."""
    mine = f"{caller.user}:x:{caller.uid}:{caller.gid}::{caller.home}:/bin/bash"
    minimal = ["root:x:0:0:root:/root:/bin/bash", f"nobody:x:{_NOBODY}:{_NOBODY}::/:/bin/false"]
    return _with_entry(_lines(database) if database else minimal, mine)


def group(caller: Caller, database: Path | None) -> str:
    """The image's group file, or a minimal one, with the caller's group added (group(5))."""
    minimal = ["root:x:0:", "tty:x:5:", f"nogroup:x:{_NOBODY}:"]
    return _with_entry(_lines(database) if database else minimal, f"{caller.user}:x:{caller.gid}:")


def _with_entry(lines: list[str], mine: str) -> str:
    number = mine.split(":")[2]
    others = [line for line in lines if line.split(":")[2:3] != [number]]
    return "\n".join([*others, mine, ""])


def _lines(database: Path) -> list[str]:
    with suppress(OSError):
        return database.read_text(errors="replace").splitlines()
    return []
