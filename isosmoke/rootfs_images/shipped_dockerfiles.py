"""The Dockerfiles of clean environments that come with isosmoke."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from isosmoke.errors import UsageError

BUILT = "isosmoke/"
"""What the names of images begin with that are built from one of these."""

_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "images", _PACKAGE.parent / "images")
"""In an installed isosmoke, and in a clone."""

_BASE = re.compile(r"^ARG BASE=(\S+)$", re.MULTILINE)
_TAG_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Recipe:
    """A folder with a Dockerfile, the image for its `ARG BASE`, and the tags of the result.

    The first tag changes with the Dockerfile and the base, the second stays.
    """

    folder: Path
    base: str
    tags: tuple[str, str]


def names() -> tuple[str, ...]:
    """All that there are."""
    return tuple(sorted(one.parent.name for one in _folder().glob("*/Dockerfile")))


def folder(name: str) -> Path:
    """The folder that one of them is built from."""
    if name not in names():
        hint = f"there are {', '.join(names())}; for others: isosmoke image import, docker build"
        raise UsageError(f"no Dockerfile for '{name}' comes with isosmoke", hint)
    return _folder() / name


def recipe(name: str, base: str | None = None) -> Recipe:
    """How one of them is built; `base` is what it stands on in place of what it names itself."""
    text = (folder(name) / "Dockerfile").read_text()
    base = base or _BASE.findall(text)[0]
    tag = hashlib.sha256(f"{base}\n{text}".encode()).hexdigest()[:_TAG_LENGTH]
    return Recipe(folder(name), base, (f"{BUILT}{name}:{tag}", f"{BUILT}{name}:latest"))


def _folder() -> Path:
    return next(one for one in _PLACES if one.is_dir())
