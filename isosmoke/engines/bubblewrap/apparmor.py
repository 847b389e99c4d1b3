"""The AppArmor profile that lets one bwrap create user namespaces.

Ubuntu 23.10 and later refuse user namespaces to programs without a profile that allows them. The
profile names one program, so the restriction stays in force for all others.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from isosmoke.errors import EngineUnavailableError

NAME = "isosmoke-bwrap"
"""The name of the profile and of its file; no distribution uses it."""

DIRECTORY = Path("/etc/apparmor.d")
"""The directory of profiles that are loaded when the machine starts."""

RESTRICTION = "kernel/apparmor_restrict_unprivileged_userns"
"""The setting in `/proc/sys` that is 1 if only programs with a profile get user namespaces."""

_PROFILE = """\
# Let this bwrap create user namespaces, which isosmoke needs for its sandboxes. All other programs
# stay restricted. Users who can replace the program are not restricted either.
abi <abi/4.0>,
include <tunables/global>

profile {name} {path} flags=(unconfined) {{
  userns,

  include if exists <local/{name}>
}}
"""

_HEADER = re.compile(
    r'^[ \t]*(?:profile[ \t]+(?:"[^"\n]*"|[^\s"]+)[ \t]+)?(?:"([^"\n]+)"|([/@][^\s"]*))[^\n#]*\{',
    re.MULTILINE,
)
_SPECIAL = re.compile(r"([\\*?\[\]{}^\"])")
_GLOB = re.compile(r"@\{bin\}|@\{[^}]*\}|\{[^}]*\}|\*+|\?")


def build_profile(program: Path) -> str:
    """Return a profile for exactly this program, whose path has no symbolic links."""
    escaped = _SPECIAL.sub(r"\\\1", str(program))
    return _PROFILE.format(name=NAME, path=f'"{escaped}"')


def require_no_profile(program: Path, directory: Path) -> None:
    """Check that no other profile is for this program: with two, AppArmor applies neither.

    Raises:
        EngineUnavailableError: if there is one; it is never replaced.
    """
    if file := find_profile(program, directory):
        raise EngineUnavailableError(
            f"{file} already has a profile for {program}, which isosmoke does not replace",
            hint=f"load it with `sudo apparmor_parser -r {file}`, set ISOSMOKE_BWRAP to "
            "another bwrap, or use --engine docker",
        )


def find_profile(program: Path, directory: Path) -> Path | None:
    """Return the file with a profile for exactly this program, other than that of isosmoke."""
    for file in _list_files(directory):
        if any(_is_for(attachment, program) for attachment in _list_attachments(file)):
            return file
    return None


def _list_files(directory: Path) -> Iterator[Path]:
    """Yield the files of loaded profiles, except that of isosmoke itself."""
    for file in sorted(directory.iterdir()) if directory.is_dir() else ():
        is_disabled = (directory / "disable" / file.name).exists()
        if file.is_file() and file.name != NAME and not is_disabled:
            yield file


def _list_attachments(file: Path) -> Iterator[str]:
    """Yield the patterns of paths for which a file has a profile."""
    for quoted, plain in _HEADER.findall(file.read_text(errors="replace")):
        yield quoted or plain


def _is_for(attachment: str, program: Path) -> bool:
    """Return whether a pattern names the program; one that also names other programs is weaker."""
    if not attachment.endswith(f"/{program.name}"):
        return False
    literals, wildcards = _GLOB.split(attachment), _GLOB.findall(attachment)
    patterns = ["(?:/usr)?/s?bin" if wildcard == "@{bin}" else ".*" for wildcard in wildcards]
    pairs = zip(map(re.escape, literals), [*patterns, ""], strict=True)
    return re.fullmatch("".join(map("".join, pairs)), str(program)) is not None
