"""Build the site of the documentation: all pages, the README, the reference and the man pages.

`sh dev docs` runs this; a warning of MkDocs is an error. usage: build.py DIRECTORY
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import reference

ROOT = Path(__file__).parents[2]
OTHERS = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
SITE_LINK = re.compile(r'(\]\(|=")docs/')
"""The beginning of a link or picture in README.md that leads to a page."""

CONFIGURATION = """\
site_name: isosmoke
docs_dir: {pages}
strict: true
use_directory_urls: false
theme: {{name: mkdocs, color_mode: auto, highlightjs: false}}
markdown_extensions: [attr_list, md_in_html]
plugins: [search]
validation: {{anchors: warn, links: {{absolute_links: warn, unrecognized_links: warn}}}}
nav:
  - Start: index.md
  - First hour: first-hour.md
  - Commands by purpose: commands-by-purpose.md
  - Guides:
{guides}
  - Reference:
    - Commands: reference/commands.md
    - Documents: reference/documents.md
  - Changes: CHANGELOG.md
  - Contribute: CONTRIBUTING.md
  - Security: SECURITY.md
"""

FIRST = ("index.md", "first-hour.md", "commands-by-purpose.md", *OTHERS)


def collect_pages(pages: Path) -> None:
    """Copy all pages into a directory, where README.md is the index."""
    ignored = shutil.ignore_patterns("site", "*.py", "__pycache__")
    shutil.copytree(ROOT / "docs", pages, ignore=ignored)
    for name in ("README.md", *OTHERS):
        text = SITE_LINK.sub(r"\1", (ROOT / name).read_text())
        (pages / name.replace("README", "index")).write_text(text)
    for page in pages.glob("*.md"):
        page.write_text(page.read_text().replace("](README.md)", "](index.md)"))
    reference.main(pages / "reference")


def write_configuration(directory: Path) -> Path:
    """Write the configuration of MkDocs next to the pages, which it lists by name."""
    pages = directory / "pages"
    names = sorted(page.name for page in pages.glob("*.md") if page.name not in FIRST)
    guides = "\n".join(f"    - {name}" for name in names)
    file = directory / "mkdocs.yml"
    file.write_text(CONFIGURATION.format(pages=pages, guides=guides))
    return file


def main(output: Path) -> int:
    """Build the site in a directory; return the exit code of MkDocs."""
    with TemporaryDirectory() as directory:
        collect_pages(Path(directory) / "pages")
        file = write_configuration(Path(directory))
        command = ["mkdocs", "build", "--quiet", "--clean", "--config-file", str(file)]
        return subprocess.run(
            [sys.executable, "-m", *command, "--site-dir", str(output.absolute())], check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
