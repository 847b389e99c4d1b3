"""A release: its version, tag and artefacts; the wheel and the source archive are complete."""

import hashlib
import platform
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

from isosmoke.keeper import build
from support.paths import ROOT

VERSION = "91.2.3"


def git(repository: Path, *arguments: str) -> str:
    """Run git in a repository, and return what it prints."""
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def list_sources() -> list[str]:
    """Return the paths of all files of the project that git has or would add."""
    listed = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard")
    return [name for name in listed.splitlines() if (ROOT / name).exists()]


def release(project: Path, version: str) -> "subprocess.CompletedProcess[str]":
    """Make a release for this machine only, without a compiler for others."""
    return subprocess.run(
        [project / ".ci/release", sys.executable, version],
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(project),
            "ISOSMOKE_RELEASE_MACHINES": platform.machine(),
            "ISOSMOKE_REPOSITORY": "https://example.org/owner/isosmoke/",
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with the files of the project."""
    if not (ROOT / ".git").exists() or shutil.which("cc") is None:
        pytest.skip("this is not a clone, or there is no C compiler")
    project = tmp_path_factory.mktemp("release") / "project"
    git(ROOT, "init", "--quiet", str(project))
    git(project, "config", "user.name", "me")
    git(project, "config", "user.email", "me@example.invalid")
    for name in list_sources():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, project / name)
    changelog = project / "CHANGELOG.md"
    text = changelog.read_text().replace("## Unreleased\n", "## Unreleased\n\n- A change.\n", 1)
    changelog.write_text(text)
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "The project")
    return project


@pytest.fixture(scope="module")
def released(project: Path) -> Path:
    """Return the directory with the artefacts of a release."""
    done = release(project, VERSION)
    assert done.returncode == 0, done.stderr
    assert "Nothing was uploaded" in done.stdout
    return project / "dist" / VERSION


@pytest.fixture(scope="module")
def wheel(released: Path) -> Iterator[ZipFile]:
    """Return the wheel of this machine."""
    (path,) = released.glob(f"*-py3-none-manylinux2014_{platform.machine()}.whl")
    with ZipFile(path) as file:
        yield file


def test_release_is_refused_unless_it_is_certain(project: Path) -> None:
    """A changed work tree, a lower version and an invalid version leave the repository as it is."""

    def describe() -> list[str]:
        return [git(project, *words) for words in (["rev-parse", "HEAD"], ["status"], ["tag"])]

    before = describe()
    (project / "stray").write_text("")
    refused = [release(project, VERSION)]
    (project / "stray").unlink()
    refused += [release(project, version) for version in ("0.0.1", "1.2", "v1.2.3", "")]

    assert [(done.returncode, done.stderr.split()[1]) for done in refused] == [
        (2, "the"),
        (1, "0.0.1"),
        (2, "usage:"),
        (2, "usage:"),
        (2, "usage:"),
    ]
    assert describe() == before


def test_release_is_committed_and_tagged(project: Path, released: Path) -> None:
    """The commit changes the version and the changelog; the tag names it; checksums are right."""
    assert released.is_dir()
    assert git(project, "log", "-1", "--format=%s %D").startswith(f"Version {VERSION} ")
    assert git(project, "rev-parse", f"v{VERSION}^{{commit}}") == git(project, "rev-parse", "HEAD")
    changed = git(project, "diff", "--name-only", "HEAD~1").split()
    assert changed == ["CHANGELOG.md", "isosmoke/__init__.py"]
    changelog = (project / "CHANGELOG.md").read_text()
    assert re.search(rf"## Unreleased\n\n## {VERSION} - \d{{4}}-\d\d-\d\d\n\n", changelog)
    sums = dict(line.split()[::-1] for line in (released / "SHA256SUMS").read_text().splitlines())
    artefacts = [path for path in released.iterdir() if path.name != "SHA256SUMS"]
    assert sums == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in artefacts}
    assert len(artefacts) == 2


def test_archive_has_every_source(released: Path) -> None:
    """The source archive has every file of the repository, and no built program."""
    (path,) = released.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert set(list_sources()) <= names
    programs = ("keeper", "launcher", "stand-in", "isosmoke-exec")
    assert not {f"isosmoke/keeper/{name}" for name in programs} & names


def test_wheel_is_complete(wheel: ZipFile) -> None:
    """The wheel has the package, the compiled programs and the images, and nothing else."""
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    package = {name for name in list_sources() if name.startswith("isosmoke/")}
    images = {f"isosmoke/{name}" for name in list_sources() if name.startswith("images/")}
    programs = {f"isosmoke/keeper/{name}" for name in ("keeper", "launcher", "stand-in")}
    script = {f"isosmoke-{VERSION}.data/scripts/isosmoke-exec"}

    assert names == package | images | programs | script
    for name in programs | script:
        assert wheel.read(name).startswith(b"\x7fELF")
        assert wheel.getinfo(name).external_attr >> 16 & 0o111


def test_page_of_the_package_index_has_absolute_links(wheel: ZipFile) -> None:
    """README.md of the metadata links to the released version, and the metadata is complete."""
    metadata = wheel.read(f"isosmoke-{VERSION}.dist-info/METADATA").decode()
    fields, _, page = metadata.partition("\n\n")
    targets = re.findall(r"\]\(([^)]+)\)|\b(?:src|srcset)=\"([^\"]+)\"", page)
    links = [link or picture for link, picture in targets]

    assert len(links) > 10
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    assert f"https://example.org/owner/isosmoke/blob/v{VERSION}/docs/gate.md" in links
    extras = re.findall(r"^Provides-Extra: (\w+)$", fields, re.MULTILINE)
    assert {"docs", "sign"} <= set(extras)
    for field in ("Author", "Keywords", "License-File", "Project-URL", "Requires-Python"):
        assert re.search(rf"^{field}: \S", fields, re.MULTILINE), field


def test_page_without_an_address_has_no_dead_link() -> None:
    """If a release does not name the place of the repository, no link to it is made up."""
    remove_links = runpy.run_path(str(ROOT / ".ci/project_page.py"))["remove_links"]
    page = remove_links((ROOT / "README.md").read_text())

    assert re.findall(r"\]\((?!https://|#)|<picture|<img", page) == []
    assert "limitations.md has the rest" in page.replace("docs/", "")


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_build_elsewhere_says_where_it_works(system: str) -> None:
    """An installation from source on another system ends with one sentence."""
    with pytest.raises(RuntimeError, match=rf"only on Linux.*{system}.*WSL"):
        build.refuse_other_systems(system)


@pytest.mark.parametrize("system", ["darwin", "win32", "cygwin", "freebsd14"])
def test_start_elsewhere_says_where_it_works(system: str) -> None:
    """The command prints one sentence, and exits as if the machine had failed."""
    code = (
        f"import sys; sys.platform = {system!r}\n"
        "for name in ('fcntl', 'pwd', 'termios'): sys.modules[name] = None\n"
        "from isosmoke.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (125, "", 1)
    assert re.match(rf"isosmoke: isosmoke runs only on Linux.*{system}.*WSL 2", done.stderr)


def test_api_elsewhere_says_where_it_works() -> None:
    """A use of the Python API is an ImportError with the same sentence."""
    code = "import sys; sys.platform = 'darwin'\nimport isosmoke\nisosmoke.run\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.stderr.splitlines()[-1].startswith("ImportError: isosmoke runs only on Linux")
