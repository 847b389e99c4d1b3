"""Small, real, merged-usr root filesystems that tests build from this machine's programs."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_LIBRARY = re.compile(r"(/\S+) \(0x")
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64")


def create_small(folder: Path, *programs: str) -> Path:
    """Create a system in `folder` with these programs, bash, and only root in its passwd."""
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
        _copy_program(folder, program)
    return folder


def _copy_program(folder: Path, program: str) -> None:
    source = shutil.which(program, path="/usr/bin:/bin")
    assert source, program
    shutil.copy(source, folder / "usr/bin" / program)
    for library in _list_libraries(source):
        target = folder / library.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)


def _list_libraries(program: str) -> Iterator[Path]:
    result = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
    return (Path(path) for path in _LIBRARY.findall(result.stdout))
