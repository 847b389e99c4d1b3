"""The user's configuration file, `isosmoke/config.toml` in the configuration directory (XDG)."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from isosmoke.cli.configuration.keys import Chosen, Given, KeyMistake, choose, read_document
from isosmoke.errors import UsageError
from isosmoke.text import quote_command

_NAME = Path("isosmoke/config.toml")


def find_path(environment: Mapping[str, str]) -> Path:
    """Return the path of the file, which may be missing; a relative XDG_CONFIG_HOME is ignored."""
    configured = environment.get("XDG_CONFIG_HOME", "")
    home = Path(configured) if configured.startswith("/") else None
    return (home or Path(os.path.expanduser("~/.config"))) / _NAME  # noqa: PTH111 - never raises


def load(environment: Mapping[str, str]) -> tuple[Chosen, ...]:
    """Return the value of every key, from the environment, the user's file or the default.

    Raises:
        UsageError: if the file cannot be read, or has a mistake: the message has file and line.
    """
    path = find_path(environment)
    given = _read(path) if _is_present(path) else {}
    return tuple(choose(given, environment, _refuse))


def _refuse(message: str, hint: str) -> NoReturn:
    raise UsageError(message, hint)


def _is_present(path: Path) -> bool:
    """Return whether there is anything at the path, be it a link that leads nowhere."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _build_access_error(path, error) from error
    return True


def _build_access_error(path: Path, error: OSError) -> UsageError:
    away = quote_command(("mv", str(path), f"{path}.old"))
    kinds = {
        errno.ENOENT: "is a symbolic link to a missing file",
        errno.ELOOP: "is in a loop of symbolic links",
        errno.EISDIR: "is a directory",
        errno.EACCES: "cannot be read by this user",
    }
    reason = kinds.get(error.errno or 0) or f"cannot be read: {error.strerror}"
    return UsageError(f"{path}: {reason}", f"make it a readable TOML file, or move it away: {away}")


def _read(path: Path) -> Mapping[str, Given]:
    import tomllib

    from isosmoke.host import files

    try:
        text = files.read(path).decode()
        document = tomllib.loads(text)
    except OSError as error:
        raise _build_access_error(path, error) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text", "save it as UTF-8") from error
    except (ValueError, RecursionError) as error:  # also of a long number or deep nesting
        raise UsageError(f"{path}: {error}", "correct the syntax; the file is TOML 1.0") from error
    values, mistakes = read_document(document)
    from isosmoke.manifest.validation.positions import LineIndex

    lines = LineIndex(text)
    if mistakes:
        raise _build_error(path, lines, mistakes)
    return {
        name: Given(value, f"{path}:{lines.find_line(tuple(name.split('.')))}")
        for name, value in values.items()
    }


def _build_error(path: Path, lines: Any, mistakes: list[KeyMistake]) -> UsageError:
    found = [(lines.find_line(mistake.path), mistake) for mistake in mistakes]
    found.sort(key=lambda item: item[0] or 0)
    message = "\n".join(
        f"{path}:{line}: key {'.'.join(mistake.path)!r}: {mistake.text}" for line, mistake in found
    )
    return UsageError(message, "; ".join(dict.fromkeys(mistake.hint for _, mistake in found)))
