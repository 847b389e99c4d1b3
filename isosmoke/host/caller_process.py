"""The user, working directory and environment of the isosmoke process."""

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from isosmoke.errors import UsageError

_DEFAULT_HOME = Path("/home/isosmoke")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A user with a working directory and an environment, which sandboxes take over."""

    uid: int
    gid: int
    user: str
    home: Path
    working: Path
    environment: Mapping[str, str]

    @classmethod
    def current(cls) -> "Caller":
        """Return the caller that this process runs for."""
        uid = os.getuid()
        return cls(
            uid=uid,
            gid=os.getgid(),
            user=_find_user_name(uid),
            home=_find_home(os.environ.get("HOME", "")),
            working=_find_working(),
            environment=dict(os.environ),
        )


def _find_working() -> Path:
    """Return the working directory.

    Raises:
        UsageError: if it has been removed, or cannot be reached by its path.
    """
    try:
        return Path.cwd()
    except OSError as error:
        raise UsageError(
            f"the working directory cannot be determined: {error.strerror}",
            hint="change to a directory that exists, such as the project's",
        ) from error


def _find_user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return "isosmoke"


def _find_home(variable: str) -> Path:
    """Return the home directory, or a usable default.

    HOME of a service user is often `/` or a directory that does not exist.
    """
    home = Path(variable)
    is_usable = home.is_absolute() and home != Path("/") and home.is_dir()
    return home if is_usable else _DEFAULT_HOME
