"""What a compiled program needs of the system that it runs in, as its own file says (elf(5))."""

from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
from elftools.elf.segments import InterpSegment

_GLIBC = "GLIBC_"


@dataclass(frozen=True, slots=True)
class Needs:
    """The loader's path, the shared libraries by name, and the lowest glibc that will do.

    `glibc` is empty where it asks for none, and so is `loader` in a static program.
    """

    loader: str
    libraries: tuple[str, ...]
    glibc: tuple[int, ...]


def read(path: Path) -> Needs | None:
    """What the program in this file needs; None where it is no whole ELF file."""
    with path.open("rb") as file:
        try:
            return _needs(ELFFile(file))
        except ELFError:
            return None


def _needs(elf: ELFFile) -> Needs:
    loaders = [
        one.get_interp_name() for one in elf.iter_segments() if isinstance(one, InterpSegment)
    ]
    libraries = [
        str(tag.needed)  # type: ignore[attr-defined]  # its kind has it
        for one in elf.iter_segments()
        if isinstance(one, DynamicSegment)
        for tag in one.iter_tags("DT_NEEDED")
    ]
    versions = (
        tuple(map(int, name.removeprefix(_GLIBC).split(".")))
        for section in elf.iter_sections()
        if isinstance(section, GNUVerNeedSection)
        for _, required in section.iter_versions()
        for name in (str(one.name) for one in required)
        if name.startswith(_GLIBC) and name.removeprefix(_GLIBC).replace(".", "").isdecimal()
    )
    return Needs(next(iter(loaders), ""), tuple(libraries), max(versions, default=()))
