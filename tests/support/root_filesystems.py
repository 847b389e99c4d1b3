"""Root filesystems that tests make of this machine's own programs: small, real, merged-usr."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_LIBRARY = re.compile(r"(/\S+) \(0x")
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64")


def small(folder: Path, *programs: str) -> Path:
    """A system in `folder` with these programs, bash and little else; nobody is in its passwd."""
    for name in ("usr/bin", "etc", "home", "proc", "dev", "var/kept"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in _MERGED:
        (folder / "usr" / name).mkdir(exist_ok=True)
        (folder / name).symlink_to(f"usr/{name}")
    for name in ("hostname", "hosts", "resolv.conf"):
        (folder / "etc" / name).touch()
    (folder / "etc/passwd").write_text("root:x:0:0::/root:/bin/bash\n")
    (folder / "etc/group").write_text("root:x:0:\n")
    for program in ("bash", *programs):
        _bring(folder, program)
    return folder


def _bring(folder: Path, program: str) -> None:
    found = shutil.which(program, path="/usr/bin:/bin")
    assert found, program
    shutil.copy(found, folder / "usr/bin" / program)
    for library in _libraries(found):
        place = folder / library.relative_to("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, place)


def _libraries(program: str) -> Iterator[Path]:
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
    return (Path(one) for one in _LIBRARY.findall(done.stdout))
