"""Who runs isosmoke, and where: the facts of the process that a sandbox takes over."""

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_HOME_OF_THE_HOMELESS = Path("/home/isosmoke")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A user in a folder, with an environment."""

    uid: int
    gid: int
    user: str
    home: Path
    working: Path
    environment: Mapping[str, str]

    @classmethod
    def here(cls) -> "Caller":
        """This process."""
        uid = os.getuid()
        return cls(
            uid=uid,
            gid=os.getgid(),
            user=_user(uid),
            home=_home(os.environ.get("HOME", "")),
            working=Path.cwd(),
            environment=dict(os.environ),
        )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return "isosmoke"


def _home(named: str) -> Path:
    """Service users often have `/` or a folder that does not exist: scenarios get a usable one."""
    home = Path(named)
    return (
        home
        if home.is_absolute() and home != Path("/") and home.is_dir()
        else _HOME_OF_THE_HOMELESS
    )
