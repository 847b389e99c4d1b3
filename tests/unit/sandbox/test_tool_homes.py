"""The tools of the host image whose files are neither on PATH nor near it."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from isosmoke.host.learned.disk_search import Disk
from isosmoke.sandbox import tool_homes
from isosmoke.sandbox.host_mounts import build_host_mounts
from isosmoke.sandbox.spec import ReadOnly
from support.file_times import settle


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return an empty HOME."""
    directory = tmp_path / "home"
    directory.mkdir()
    return directory


def write(path: Path, content: str = "") -> Path:
    """Create a program with this content, and its parent directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(0o755)
    return path


def link(path: Path, target: Path) -> Path:
    """Create a symbolic link, and its parent directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return path


def read(
    home: Path, path: Path, *entries: Path, variables: Mapping[str, str] | None = None
) -> str | None:
    """Return what a sandbox with these entries of PATH reads at a path; None if it is missing."""
    search = ":".join(map(str, entries))
    mounts = build_host_mounts(search, home, masked=False, variables=variables or {})
    covering = [mount for mount in mounts if path.is_relative_to(mount.target)]
    if not covering:
        return None
    mount = max(covering, key=lambda mount: len(mount.target.parts))
    assert isinstance(mount, ReadOnly)
    return (mount.source / path.relative_to(mount.target)).read_text()


@pytest.mark.parametrize("name", tool_homes.VARIABLES)
def test_directory_of_a_variable_is_whole(home: Path, tmp_path: Path, name: str) -> None:
    """A directory that a toolchain's variable names is visible with everything in it."""
    file = write(tmp_path / "elsewhere/any/file", "data")

    assert read(home, file, variables={name: str(tmp_path / "elsewhere")}) == "data"
    assert read(home, file) is None


def test_directory_of_a_variable_has_each_of_its_names(home: Path, tmp_path: Path) -> None:
    """A variable may name a link; the files are visible under both names."""
    file = write(tmp_path / "real/file", "data")
    name = link(tmp_path / "named", tmp_path / "real")
    variables = {"JAVA_HOME": str(name)}

    assert read(home, file, variables=variables) == "data"
    assert read(home, name / "file", variables=variables) == "data"


@pytest.mark.parametrize("up", [0, 1])
def test_variable_with_home_shows_nothing_and_is_named(home: Path, up: int) -> None:
    """HOME, or a directory above it, is not mounted for a variable; a warning can name it."""
    file = write(home / "notes", "secret")
    variables = {"CARGO_HOME": str((home, *home.parents)[up]), "GOROOT": "/gone", "NVM_DIR": "x"}

    assert read(home, file, variables=variables) is None
    assert list(tool_homes.list_hidden(variables, home)) == [
        f"CARGO_HOME={variables['CARGO_HOME']}"
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("credentials", "credentials.toml", "versions/3.12/pip.conf", ".git/config", "a/.npmrc"),
        *("versions/node/v20/lib/node_modules/npm/npmrc", ".netrc", "x/.env", ".pypirc"),
    ],
)
def test_credentials_of_a_tool_are_empty(home: Path, tmp_path: Path, name: str) -> None:
    """A file in which a tool keeps credentials is empty; the files next to it are not."""
    secret = write(tmp_path / "elsewhere" / name, "secret")
    other = write(secret.with_name("other"), "data")
    variables = {"CARGO_HOME": str(tmp_path / "elsewhere")}

    assert read(home, secret, variables=variables) == ""
    assert read(home, other, variables=variables) == "data"


def test_credentials_of_a_tool_on_path_are_empty(home: Path) -> None:
    """Directories that PATH alone makes visible are searched too."""
    pip = write(home / ".pyenv/versions/3.12/pip.conf", "secret")
    npm = write(home / ".nvm/versions/v20/lib/node_modules/npm/npmrc", "secret")
    entries = (home / ".pyenv/shims", home / ".nvm/versions/v20/bin")
    for entry in entries:
        entry.mkdir()

    assert (read(home, pip, *entries), read(home, npm, *entries)) == ("", "")


def test_package_with_the_name_of_a_secret_is_unchanged(home: Path, tmp_path: Path) -> None:
    """A module or a directory named like a file of credentials is not one."""
    module = write(tmp_path / "py/lib/python3.12/site-packages/a/credentials", "data")
    inside = write(tmp_path / "py/credentials/list", "data")
    variables = {"VIRTUAL_ENV": str(tmp_path / "py")}

    assert read(home, module, variables=variables) == "data"
    assert read(home, inside, variables=variables) == "data"


@pytest.mark.parametrize("kind", ["npm link", "library", "scoped"])
def test_linked_package_is_whole(home: Path, kind: str) -> None:
    """A package that a `node_modules` directory links to is visible with all its files."""
    package = home / "projects/tool"
    write(package / "package.json", "{}")
    script = write(package / "bin-files/cli.js", "#!/usr/bin/env node\n")
    library = write(package / "lib/deep/index.js", "data")
    prefix = home / ".nvm/versions/node/v20"
    modules = prefix / "lib/node_modules"
    if kind == "npm link":
        link(prefix / "bin/tool", modules / "tool/bin-files/cli.js")
    else:
        (prefix / "bin").mkdir(parents=True)
    link(modules / ("@me/tool" if kind == "scoped" else "tool"), package)

    assert read(home, library, prefix / "bin") == "data"
    assert read(home, script, prefix / "bin") == "#!/usr/bin/env node\n"


def test_script_of_a_package_is_whole(home: Path) -> None:
    """A link to a script of a Node.js package shows the package; HOME is never a package."""
    write(home / "package.json", "{}")
    notes = write(home / "notes", "secret")
    library = write(home / "clone/lib/index.js", "data")
    write(home / "clone/package.json", "{}")
    link(home / "bin/tool", write(home / "clone/cli/run.js"))
    link(home / "bin/other", write(home / "scripts/other.sh"))

    assert read(home, library, home / "bin") == "data"
    assert read(home, home / "scripts/other.sh", home / "bin") == ""
    assert read(home, notes, home / "bin") is None


@pytest.mark.parametrize("kind", ["direct_url", "pth", "egg-link"])
@pytest.mark.parametrize("root", [".venv", ".pyenv/versions/3.12"])
def test_editable_install_is_visible(home: Path, root: str, kind: str) -> None:
    """The sources of an editable install are visible to the environment on PATH."""
    project = home / "a project"
    module = write(project / "src/thing/__init__.py", "data")
    site = home / root / "lib/python3.12/site-packages"
    write(home / root / "bin/thing")
    if kind == "direct_url":
        info = {"url": (project).as_uri(), "dir_info": {"editable": True}}
        write(site / "thing-1.dist-info/direct_url.json", json.dumps(info))
    elif kind == "pth":
        write(site / "__editable__.thing.pth", f"import os\n\n{project / 'src'}\n/gone\n{home}\n")
    else:
        write(site / "thing.egg-link", f"{project / 'src'}\n../\n")
    notes = write(home / "notes", "secret")

    assert read(home, module, home / root / "bin") == "data"
    assert read(home, notes, home / root / "bin") is None


@pytest.mark.parametrize(
    "content",
    [*("", "[]", "{", '{"url": "file:///etc"}', '{"url": 1}'), '{"url": "https://x/y"}'],
)
def test_other_direct_urls_are_ignored(home: Path, content: str) -> None:
    """A package that was installed from elsewhere, or an unreadable record, adds no mount."""
    write(home / ".venv/lib/python3.12/site-packages/a.dist-info/direct_url.json", content)

    assert list(tool_homes.list_packages(Disk(), [home / ".venv/lib"], home)) == []


@pytest.mark.parametrize("line", ["../../../../elsewhere", "{elsewhere}"])
def test_path_configuration_file_names_a_directory(home: Path, tmp_path: Path, line: str) -> None:
    """A line of a .pth file is a path, relative to its directory; others are code or comments."""
    source = write(tmp_path / "elsewhere/package/module.py", "data")
    site = tmp_path / "py/lib/python3.12/site-packages"
    lines = ("# text", "import elsewhere", line.format(elsewhere=tmp_path / "elsewhere"))
    write(site / "own.pth", "\n".join(lines))

    assert read(home, source, variables={"VIRTUAL_ENV": str(tmp_path / "py")}) == "data"


def test_paths_of_python_are_listed(home: Path, tmp_path: Path) -> None:
    """PYTHONPATH may name directories and archives, relative to the working directory."""
    (tmp_path / "own").mkdir()
    (tmp_path / "one.zip").touch()
    variables = {"PYTHONPATH": f"own:{tmp_path / 'one.zip'}::/gone:{home}"}

    assert list(tool_homes.list_python_paths(variables, tmp_path, home)) == [
        tmp_path / "own",
        tmp_path / "one.zip",
    ]


def test_packages_of_the_user_are_listed(home: Path, tmp_path: Path) -> None:
    """The user's own packages are below ~/.local, or where PYTHONUSERBASE says."""
    for base in (home / ".local", tmp_path / "base"):
        (base / "lib/python3.12").mkdir(parents=True)
        (base / "lib/other").mkdir()

    assert list(tool_homes.list_python_roots({}, home)) == [home / ".local/lib/python3.12"]
    assert list(tool_homes.list_python_roots({"PYTHONUSERBASE": str(tmp_path / "base")}, home)) == [
        tmp_path / "base/lib/python3.12"
    ]


def test_environments_of_a_command_are_found_without_path(tmp_path: Path) -> None:
    """They are that of the program, if it is a path, and those in the project."""
    write(tmp_path / ".venv/pyvenv.cfg")
    write(tmp_path / "tools/run")
    (tmp_path / "tools/run").chmod(0o755)
    write(tmp_path / "tools/data")
    (tmp_path / "tools/data").chmod(0o644)
    expected = [tmp_path / "tools", tmp_path / ".venv/bin"]

    assert list(tool_homes.list_environments(("tools/run", "x"), [tmp_path])) == expected
    assert list(tool_homes.list_environments(("tools/data",), [tmp_path])) == expected[1:]
    assert list(tool_homes.list_environments(("run",), [tmp_path])) == expected[1:]


def test_links_of_a_directory_of_programs_are_no_prefixes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search looks for no packages below its programs, so that less can make it search again."""
    programs = tmp_path / "prefix/bin"
    for name in ("tool", "other"):
        link(programs / name, write(tmp_path / f"elsewhere/{name}"))
    settle(monkeypatch)

    disk = Disk()
    packages = tool_homes.list_packages(disk, [programs, programs.parent], tmp_path / "home")
    assert list(packages) == []
    seen = disk.describe()

    assert seen is not None
    assert f"{programs}/lib" in seen["paths"]
    assert not [path for path in seen["paths"] if path.startswith(f"{programs}/tool")]
