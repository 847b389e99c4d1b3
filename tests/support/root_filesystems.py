"""Small, real, merged-usr root filesystems that tests build from this machine's programs."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_LIBRARY = re.compile(r"(/\S+) \(0x")
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64")


def create_small(directory: Path, *programs: str) -> Path:
    """Create a system in `directory` with these programs, bash, and only root in its passwd."""
    for name in ("usr/bin", "etc", "home", "proc", "dev", "var/kept"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    for name in _MERGED:
        (directory / "usr" / name).mkdir(exist_ok=True)
        (directory / name).symlink_to(f"usr/{name}")
    for name in ("hostname", "hosts", "resolv.conf"):
        (directory / "etc" / name).touch()
    (directory / "etc/passwd").write_text("root:x:0:0::/root:/bin/bash\n")
    (directory / "etc/group").write_text("root:x:0:\n")
    for program in ("bash", *programs):
        _copy_program(directory, program)
    return directory


def _copy_program(directory: Path, program: str) -> None:
    source = shutil.which(program, path="/usr/bin:/bin")
    assert source, program
    shutil.copy(source, directory / "usr/bin" / program)
    for library in _list_libraries(source):
        target = directory / library.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)


def _list_libraries(program: str) -> Iterator[Path]:
    result = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
    return (Path(path) for path in _LIBRARY.findall(result.stdout))
