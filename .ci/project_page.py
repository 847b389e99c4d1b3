"""The build hook that writes README.md for the package index, where relative links lead nowhere.

The place of the repository is not known to it. If ISOSMOKE_REPOSITORY has its address, links lead
there; otherwise they are left out, and the package has no addresses.
"""

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

ROOT = Path(__file__).parents[1]
VERSION = re.compile(r'^__version__ = "(.+)"$', re.MULTILINE)
PICTURE = re.compile(r'\b(src|srcset)="(?!https?:)([^"]+)"')
LINK = re.compile(r"\]\((?!https?:|#)([^)]+)\)")


BLOCK = re.compile(r"<picture>.*?</picture>\n\n?", re.DOTALL)
RELATIVE = re.compile(r"\[([^\]]+)\]\((?!https?:|#)[^)]+\)")


def remove_links(text: str) -> str:
    """Return a page without pictures, and with only the texts of links to its own repository."""
    return RELATIVE.sub(r"\1", BLOCK.sub("", text))


def list_addresses(repository: str) -> dict[str, str]:
    """Return the addresses of a project on GitHub."""
    return {
        "Source": repository,
        "Documentation": f"{repository}/tree/main/docs",
        "Changelog": f"{repository}/blob/main/CHANGELOG.md",
        "Issues": f"{repository}/issues",
    }


def make_links_absolute(text: str, repository: str, version: str) -> str:
    """Return a page whose links and pictures are those of the released version."""
    pictures = rf'\1="{repository}/raw/v{version}/\2"'
    return LINK.sub(rf"]({repository}/blob/v{version}/\1)", PICTURE.sub(pictures, text))


class ProjectPage(MetadataHookInterface):
    """The hatchling metadata hook that provides the fields `readme` and `urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the page and the addresses."""
        repository = os.environ.get("ISOSMOKE_REPOSITORY", "").rstrip("/")
        source = (ROOT / "isosmoke/__init__.py").read_text(encoding="utf-8")
        (version,) = VERSION.findall(source)
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        metadata["urls"] = list_addresses(repository) if repository else {}
        page = make_links_absolute(text, repository, version) if repository else remove_links(text)
        metadata["readme"] = {"content-type": "text/markdown", "text": page}
