"""A program `wg` in front of the real one, which gates `done` and passes everything else through.

It is a shell script, because wg is called often and a shell starts faster than Python. It replaces
itself by the real wg, so that arguments, streams, terminal, signals and exit status are those of
wg. It looks for the real wg at each call, so that an upgrade of wg needs no other shim.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from isosmoke.dataclass import dataclass
from isosmoke.errors import IsosmokeError, UsageError
from isosmoke.host import binary, files, state
from isosmoke.host.binary import COMMAND_NAME, SHIM_MARK
from isosmoke.text import quote_command
from isosmoke.wg_bridge.wg_arguments import DONE, TOP_OPTIONS

DEFAULT_NAME = "shim"
"""The name of the default directory, in the state directory."""

_SCRIPT = """\
#!/bin/sh
{mark} gates `wg {done}`, and passes every other call to the next wg on PATH
# Written by `isosmoke shim install`; `isosmoke shim uninstall` removes it.
# The names of the variables differ from all that the environment may have.

_isosmoke_python={python}

# The next wg on PATH is the first one that is no such script.
_isosmoke_wg=
_isosmoke_path=${{PATH-}}
while [ "$_isosmoke_path" ]; do
    _isosmoke_directory=${{_isosmoke_path%%:*}}
    case $_isosmoke_path in
    *:*) _isosmoke_path=${{_isosmoke_path#*:}} ;;
    *) _isosmoke_path= ;;
    esac
    _isosmoke_file=${{_isosmoke_directory:-.}}/wg
    [ -f "$_isosmoke_file" ] && [ -x "$_isosmoke_file" ] || continue
    _isosmoke_mark=
    {{ IFS= read -r _isosmoke_mark; IFS= read -r _isosmoke_mark; }} 2>/dev/null <"$_isosmoke_file"
    case $_isosmoke_mark in
    "{mark}"*) continue ;;
    esac
    _isosmoke_wg=$_isosmoke_file
    break
done
if [ -z "$_isosmoke_wg" ]; then
    echo "wg: the shim of isosmoke finds no wg on PATH" >&2
    exit 127
fi

# A call of `{done}`, or one that is not certain to be another command, is left to isosmoke.
_isosmoke_is_gated=
_isosmoke_is_value=
for _isosmoke_argument do
    if [ "$_isosmoke_is_value" ]; then
        _isosmoke_is_value=
        continue
    fi
    case $_isosmoke_argument in
    {with_value}) _isosmoke_is_value=1 ;;
    {without_value}) ;;
    --) break ;;
    {done} | -?*)
        _isosmoke_is_gated=1
        break
        ;;
    *) break ;;
    esac
done
if [ -z "$_isosmoke_is_gated" ]; then
    exec "$_isosmoke_wg" "$@"
fi
if [ ! -x "$_isosmoke_python" ]; then
    echo "wg: isosmoke is no longer at $_isosmoke_python, so \\`wg {done}\\` cannot be gated" >&2
    echo "  try: run \\`isosmoke shim install\\` again, or remove $0" >&2
    exit 125
fi
# -P: do not import from the working directory.
exec "$_isosmoke_python" -P -m isosmoke shim exec -- "$_isosmoke_wg" "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShimStatus:
    """The shims on PATH and in the default directory, and the wg that they call.

    `problem` says why a bare `wg done` is not gated, and `hint` how to fix that; both are empty if
    it is.
    """

    shims: tuple[Path, ...]
    wg: Path | None
    problem: str = ""
    hint: str = ""


def get_default_directory() -> Path:
    """Return the directory of the shim unless the user names another one; it may be missing."""
    return state.get_state_directory() / DEFAULT_NAME


def render() -> str:
    """Return the script, which calls the isosmoke that this process runs."""
    names = [name for option in TOP_OPTIONS for name in (option.name, f"-{option.letter}")]
    with_value = [option.name for option in TOP_OPTIONS if option.takes_value]
    attached = [f"{name}=?*" for name in with_value]
    without_value = sorted({*names} - {*with_value, "-"})
    return _SCRIPT.format(
        mark=SHIM_MARK,
        done=DONE,
        python=quote_command([sys.executable]),
        with_value=" | ".join(with_value),
        without_value=" | ".join([*without_value, *attached]),
    )


def install(directory: Path) -> Path:
    """Write the shim to a directory, in place of an older one, and return its path.

    Raises:
        UsageError: if the directory has another wg.
    """
    shim = directory / COMMAND_NAME
    if os.path.lexists(shim) and not binary.is_shim(shim):
        raise UsageError(
            f"{shim} exists and is no shim of isosmoke",
            hint="name a directory that comes before it on PATH: --directory DIRECTORY",
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return files.write(shim, render(), mode=0o755)
    except OSError as error:
        raise IsosmokeError(
            f"cannot write {shim}: {error.strerror}", hint="--directory DIRECTORY"
        ) from error


def uninstall(directory: Path) -> bool:
    """Remove the shim from a directory; return whether there was one."""
    shim = directory / COMMAND_NAME
    if not binary.is_shim(shim):
        return False
    try:
        shim.unlink()
    except OSError as error:
        raise IsosmokeError(
            f"cannot remove {shim}: {error.strerror}", hint=f"ls -ld {directory}"
        ) from error
    return True


def inspect(environment: Mapping[str, str]) -> ShimStatus:
    """Return which shims there are, and whether a bare `wg done` is gated by one."""
    path = environment.get("PATH", "")
    found = [*binary.list_on_path(path), get_default_directory() / COMMAND_NAME]
    shims = tuple(dict.fromkeys(filter(binary.is_shim, found)))
    wg = next((program for program in found if not binary.is_shim(program)), None)
    wg = wg if wg in found[:-1] else None
    problem, hint = _find_problem(found, shims, wg)
    return ShimStatus(shims=shims, wg=wg, problem=problem, hint=hint)


def _find_problem(found: list[Path], shims: tuple[Path, ...], wg: Path | None) -> tuple[str, str]:
    if not shims:
        return "not installed", "isosmoke shim install"
    first = shims[0]
    if found[0] != first:
        front = quote_command([str(first.parent)])
        return f"{first} is not the first wg on PATH", f"export PATH={front}:$PATH"
    if wg is None:
        return f"{first} finds no wg after it on PATH", "add the directory of wg to PATH"
    if files.read(first).decode(errors="replace") != render():
        return f"{first} was written by another isosmoke", "isosmoke shim install"
    return "", ""
