"""The requirements of a compiled program, read from its ELF file (elf(5))."""

from pathlib import Path
from typing import TYPE_CHECKING

from isosmoke.dataclass import dataclass

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

_GLIBC = "GLIBC_"


@dataclass(frozen=True, slots=True)
class ElfRequirements:
    """The loader's path, the names of the shared libraries, and the minimum version of glibc.

    `glibc` is empty if the program does not require it. `loader` is empty for a static program.
    """

    loader: str
    libraries: tuple[str, ...]
    glibc: tuple[int, ...]


def read_requirements(path: Path) -> ElfRequirements | None:
    """Return the requirements of the program in `path`; None if it is not a complete ELF file."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    with path.open("rb") as file:
        try:
            return _read_needs(ELFFile(file))
        except ELFError:
            return None


def _read_needs(elf: "ELFFile") -> ElfRequirements:
    from elftools.elf.dynamic import DynamicSegment
    from elftools.elf.gnuversions import GNUVerNeedSection
    from elftools.elf.segments import InterpSegment

    loaders = [
        segment.get_interp_name()
        for segment in elf.iter_segments()
        if isinstance(segment, InterpSegment)
    ]
    libraries = [
        str(tag.needed)  # type: ignore[attr-defined]  # a DT_NEEDED tag has it
        for segment in elf.iter_segments()
        if isinstance(segment, DynamicSegment)
        for tag in segment.iter_tags("DT_NEEDED")
    ]
    versions = (
        tuple(map(int, name.removeprefix(_GLIBC).split(".")))
        for section in elf.iter_sections()
        if isinstance(section, GNUVerNeedSection)
        for _, required in section.iter_versions()
        for name in (str(version.name) for version in required)
        if name.startswith(_GLIBC) and name.removeprefix(_GLIBC).replace(".", "").isdecimal()
    )
    return ElfRequirements(next(iter(loaders), ""), tuple(libraries), max(versions, default=()))
