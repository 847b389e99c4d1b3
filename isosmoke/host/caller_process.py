"""The user, working directory and environment of the isosmoke process."""

import os
import pwd
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from isosmoke.dataclass import dataclass
from isosmoke.errors import UsageError
from isosmoke.text import is_set

_DEFAULT_HOME = Path("/home/isosmoke")

_INSTALLERS = ("pip", "setuptools", "uv", "wheel")
"""The packages of any virtual environment."""


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


def read_effective_capabilities() -> int:
    """Return the effective capabilities of this process as bits (proc_pid_status(5))."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))


def without_own_environment(caller: Caller) -> Caller:
    """Return the caller with PATH as it is without isosmoke's own virtual environment.

    An environment only for isosmoke, or that of its checkout, comes last on PATH, so that its
    `python3`, `pip` and `pytest` hide none of the user's. If isosmoke is one package of several in
    an environment, or if the environment is in the project, the environment is the user's.
    """
    prefix = Path(sys.prefix)
    own = os.path.realpath(prefix / "bin")
    path = caller.environment.get("PATH", "").split(":")
    mine = [entry for entry in path if entry and os.path.realpath(entry) == own]
    if not mine or sys.prefix == sys.base_prefix or not _is_own(prefix, caller.working):
        return caller
    others = [entry for entry in path if entry not in mine]
    environment = {**caller.environment, "PATH": ":".join([*others, *mine])}
    if os.path.realpath(environment.get("VIRTUAL_ENV", "/")) == os.path.realpath(prefix):
        del environment["VIRTUAL_ENV"]
    return replace(caller, environment=environment)


def _is_own(prefix: Path, working: Path) -> bool:
    real = prefix.resolve()
    if any(real.is_relative_to(top) for top in _list_tops(working.resolve())):
        return False
    checkout = Path(__file__).parents[2].resolve()
    return real.is_relative_to(checkout) or _has_only_isosmoke()


def _list_tops(working: Path) -> Iterator[Path]:
    """Yield the working directory and the repositories around it."""
    yield working
    yield from (path for path in working.parents if (path / ".git").exists())


def _has_only_isosmoke() -> bool:
    """Return whether the environment has no package but isosmoke and what it requires."""
    from importlib import metadata

    installed = {
        _normalize(distribution.name): distribution for distribution in metadata.distributions()
    }
    needed, pending = set(_INSTALLERS), ["isosmoke"]
    while pending:
        name = pending.pop()
        if name not in needed and name in installed:
            needed.add(name)
            pending += map(_normalize, installed[name].requires or ())
    return set(installed) <= needed


def _normalize(requirement: str) -> str:
    """Return the normalized name of a requirement (PEP 503, PEP 508)."""
    name = re.match(r"[A-Za-z0-9._-]*", requirement)
    return re.sub(r"[-_.]+", "-", name[0] if name else "").lower()


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


AGENT_VARIABLES = {
    "WG_AGENT_ID": "wg, for any agent program",
    "AGENT": "Amp, Goose, and agents that follow them",
    "AI_AGENT": "agents that follow the convention of that name",
    "IS_CODE_AGENT": "agents that follow Bun's name for it",
    "AUGMENT_AGENT": "Augment",
    "CLAUDECODE": "Claude Code",
    "CLINE_ACTIVE": "Cline",
    "CODEX_SANDBOX": "Codex",
    "CODEX_SANDBOX_NETWORK_DISABLED": "Codex, without network",
    "CODEX_THREAD_ID": "Codex, without its sandbox",
    "CURSOR_AGENT": "Cursor",
    "GEMINI_CLI": "Gemini CLI",
    "GOOSE_TERMINAL": "Goose",
    "OPENCODE": "opencode",
    "REPL_ID": "Replit",
}
"""The environment variables that identify coding agents, and the programs that set them."""


def is_agent(environ: Mapping[str, str]) -> bool:
    """Return whether the reader is a coding agent; empty, 0 and false do not set a variable."""
    return any(is_set(environ.get(name, "")) for name in AGENT_VARIABLES)
