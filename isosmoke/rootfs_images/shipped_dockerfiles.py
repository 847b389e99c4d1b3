"""The Dockerfiles of clean environments that come with isosmoke."""

import hashlib
import re
from pathlib import Path

from isosmoke.dataclass import dataclass
from isosmoke.errors import UsageError

BUILT_PREFIX = "isosmoke/"
"""The prefix of the names of images that are built from one of these Dockerfiles."""

_PACKAGE = Path(__file__).parents[1]
_DIRECTORIES = (_PACKAGE / "images", _PACKAGE.parent / "images")
"""The directory of Dockerfiles in an installed isosmoke, and in a clone."""

_BASE = re.compile(r"^ARG BASE=(\S+)$", re.MULTILINE)
_TAG_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Recipe:
    """A directory with a Dockerfile, the image for its `ARG BASE`, and the tags of the result.

    The first tag changes with the Dockerfile and the base, the second is always the same.
    """

    directory: Path
    base: str
    tags: tuple[str, str]


def list_names() -> tuple[str, ...]:
    """Return the names of all Dockerfiles."""
    return tuple(sorted(path.parent.name for path in _find_images_directory().glob("*/Dockerfile")))


def find_directory(name: str) -> Path:
    """Return the directory of a Dockerfile.

    Raises:
        UsageError: if there is none of this name.
    """
    if name not in list_names():
        hint = f"choose one of: {', '.join(list_names())}; or run isosmoke image import"
        raise UsageError(f"isosmoke has no Dockerfile for '{name}'", hint)
    return _find_images_directory() / name


def get_recipe(name: str, base: str | None = None) -> Recipe:
    """Return the recipe of an image; `base` overrides the base image in the Dockerfile."""
    text = (find_directory(name) / "Dockerfile").read_text()
    base = base or _BASE.findall(text)[0]
    digest = hashlib.sha256(f"{base}\n{text}".encode()).hexdigest()[:_TAG_LENGTH]
    return Recipe(
        find_directory(name),
        base,
        (f"{BUILT_PREFIX}{name}:{digest}", f"{BUILT_PREFIX}{name}:latest"),
    )


def _find_images_directory() -> Path:
    return next(directory for directory in _DIRECTORIES if directory.is_dir())
