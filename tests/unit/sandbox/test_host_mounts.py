"""The host image: the files of a made-up HOME that are mounted, and those that are not."""

import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

import pytest

from isosmoke.sandbox.host_mounts import build_host_mounts
from isosmoke.sandbox.spec import Fresh, Mount, ReadOnly
from support.file_times import pass_tick, settle
from support.fixture_types import Ordinary

NATIVE = "\x7fELF"


def program(path: Path, content: str = NATIVE) -> Path:
    """Create a program with this content, and its parent directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(0o755)
    return path


def link(path: Path, target: Path | str) -> Path:
    """Create a symbolic link, and its parent directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return path


class Image:
    """The host image of a PATH, for checks of the files under HOME that are visible in it."""

    def __init__(self, home: Path, *path: Path | str) -> None:
        entries = ":".join(map(str, path))
        self.mounts = build_host_mounts(f"/usr/bin:{entries}:/bin", home, masked=False)
        self._home = home

    def has(self, *paths: Path) -> bool:
        """Return whether all paths are visible, with links followed as in a sandbox."""
        return all(self._is_visible(path) for path in paths)

    def lacks(self, *paths: Path) -> bool:
        """Return whether none of the files is visible under any name."""
        visible = {file.resolve() for file in self._list_files()}
        return not any(path.resolve() in visible for path in paths)

    def _is_visible(self, path: Path) -> bool:
        for _ in range(20):
            if not self._is_mounted(path):
                return False
            source = self._find_source(path)
            if not source.is_symlink() or self._is_mount_point(path):
                return source.exists()
            path = Path(os.path.normpath(path.parent / source.readlink()))
        return False

    def _is_mounted(self, path: Path) -> bool:
        return any(path.is_relative_to(mount.target) for mount in self._list_home_mounts())

    def _is_mount_point(self, path: Path) -> bool:
        return any(PurePosixPath(path) == mount.target for mount in self._list_home_mounts())

    def _find_source(self, path: Path) -> Path:
        """Return the host's file at `path`; links are followed up to the mount, not below it."""
        mount = max(
            (mount for mount in self._list_home_mounts() if path.is_relative_to(mount.target)),
            key=lambda mount: len(mount.target.parts),
        )
        return mount.source.resolve() / path.relative_to(mount.target)

    def _list_home_mounts(self) -> list[ReadOnly]:
        read_only = [mount for mount in self.mounts if isinstance(mount, ReadOnly)]
        return [mount for mount in read_only if mount.source.is_relative_to(self._home)]

    def _list_files(self) -> list[Path]:
        roots = [mount.source for mount in self._list_home_mounts()]
        below = [file for root in roots if root.is_dir() for file in root.rglob("*")]
        return [file for file in (*roots, *below) if file.is_file() and not file.is_symlink()]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home directory with secrets that must never be visible."""
    directory = tmp_path / "home" / "user"
    for secret in SECRETS:
        program(directory / secret, "secret")
    return directory


SECRETS = (
    *(".ssh/id_ed25519", ".netrc", ".aws/credentials", ".config/gh/hosts.yml"),
    *(".local/share/keyrings/login.keyring", ".local/share/wg/token", ".local/state/x/log"),
    *(".cargo/credentials.toml", ".fly/config.yml", ".npmrc", ".bun/config", ".docker/config.json"),
    *("go/secret", ".pyenv/token", "notes.txt"),
)


def secrets(home: Path) -> list[Path]:
    """Return all files that must not be visible."""
    return [home / path for path in SECRETS]


def test_system_is_mounted_read_only(home: Path) -> None:
    """The host's system directories are mounted read-only at their own paths, and HOME is not."""
    mounts = Image(home).mounts
    targets = {str(mount.target) for mount in mounts}

    assert {"/usr", "/etc"} <= targets
    for mount in mounts:
        assert isinstance(mount, ReadOnly)
        assert str(mount.source) == str(mount.target)
    assert not any(home.is_relative_to(target) for target in targets)


def test_no_mount_is_inside_another(home: Path) -> None:
    """Each directory is mounted once, and none inside another mounted directory."""
    program(home / ".local/bin/a")
    program(home / ".local/lib/b")
    targets = [mount.target for mount in Image(home, home / ".local/bin").mounts]

    for target in targets:
        assert not any(target != other and target.is_relative_to(other) for other in targets)
    assert len(targets) == len(set(targets))


def test_home_that_is_not_on_path_is_hidden(home: Path) -> None:
    """If no directory of HOME is on PATH, no file of HOME is visible."""
    program(home / ".local/bin/tool")

    assert Image(home).lacks(home / ".local/bin/tool", *secrets(home))


@pytest.mark.parametrize("up", [0, 1, 2])
def test_home_itself_on_path_is_ignored(home: Path, up: int) -> None:
    """HOME or a directory above it on PATH is ignored, because it would expose everything."""
    image = Image(home, (home, *home.parents)[up])

    assert image.lacks(*secrets(home))


def test_home_on_path_through_a_link_is_ignored(home: Path) -> None:
    """HOME is recognized under each of its names."""
    other = link(home.parent / "other", home)

    assert Image(home, other).lacks(*secrets(home))
    assert Image(other, home).lacks(*secrets(home))


@pytest.mark.parametrize("entry", ["", ".", "bin", "~/.local/bin", "/gone/bin"])
def test_unusable_entries_of_path_are_ignored(
    home: Path, entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative, empty and missing directories on PATH are ignored."""
    program(home / "bin/tool")
    monkeypatch.chdir(home)

    assert Image(home, entry).lacks(home / "bin/tool", *secrets(home))


def test_target_of_linked_tool_is_visible(home: Path) -> None:
    """The target of a link in ~/.local/bin is visible, and the keyring near it is not."""
    share = home / ".local/share"
    version = program(share / "claude/versions/1.2.3")
    tool = link(home / ".local/bin/claude", version)
    image = Image(home, home / ".local/bin")

    assert image.has(tool, version)
    assert image.lacks(*secrets(home))


@pytest.mark.parametrize("target", ["/proc/self/mounts", "/dev/null", "/sys/kernel/uevent_seqnum"])
def test_link_to_a_file_of_the_kernel_needs_no_mount(home: Path, target: str) -> None:
    """A directory such as /etc, which links to /proc, may be on PATH."""
    link(home / "bin/mtab", target)

    roots = {mount.target.parts[1] for mount in Image(home, home / "bin").mounts}
    assert not roots & {"proc", "dev", "sys"}


def test_tool_through_two_links_is_visible(home: Path) -> None:
    """A link through another link, such as to a current version, works in the sandbox."""
    share = home / ".local/share/node"
    real = program(share / "versions/20/bin/node")
    library = program(share / "versions/20/lib/libnode.so")
    link(share / "current", "versions/20")
    tool = link(home / ".local/bin/node", share / "current/bin/node")
    image = Image(home, home / ".local/bin")

    assert image.has(tool, real, library)
    assert image.has(share / "current/bin/node")
    assert image.lacks(*secrets(home))


def test_uv_tool_has_its_environment_and_its_python(home: Path) -> None:
    """A script of a virtual environment has the environment and the base Python."""
    share = home / ".local/share/uv"
    python = program(share / "python/cpython-3.12/bin/python3.12")
    library = program(share / "python/cpython-3.12/lib/libpython3.12.so")
    tool = share / "tools/thing"
    program(tool / "pyvenv.cfg")
    program(tool / "lib/thing.py")
    link(tool / "bin/python", python)
    script = program(tool / "bin/thing", f"#!{tool}/bin/python\nimport thing\n")
    on_path = link(home / ".local/bin/thing", script)
    image = Image(home, home / ".local/bin")

    assert image.has(
        on_path, script, tool / "bin/python", tool / "pyvenv.cfg", tool / "lib/thing.py"
    )
    assert image.has(python, library)
    assert image.lacks(*secrets(home))


def test_environment_in_a_shebang_is_visible(home: Path) -> None:
    """The virtual environment in the first line of a script on PATH is visible."""
    environment = home / "projects/thing/.venv"
    python = program(environment / "bin/python3")
    program(environment / "pyvenv.cfg")
    script = program(home / "bin/thing", f"#! {python} -I\n")
    image = Image(home, home / "bin")

    assert image.has(script, python, environment / "pyvenv.cfg")
    assert image.lacks(*secrets(home))


@pytest.mark.parametrize(
    "line",
    [
        *("#!/usr/bin/env python3", "#!", "#! ", "#!relative/python", "#!/gone/python", ""),
        *("#!/" + "x" * 300, "\0\0\udcff"),
    ],
)
def test_script_with_any_first_line_is_accepted(home: Path, line: str) -> None:
    """A first line that names no interpreter under HOME adds no mounts and is no error."""
    script = home / "bin/thing"
    script.parent.mkdir()
    script.write_bytes(line.encode(errors="surrogateescape") + b"\n")
    image = Image(home, home / "bin")

    assert image.has(script)
    assert image.lacks(*secrets(home))


def test_nvm_has_node_and_its_modules(home: Path) -> None:
    """A version of node on PATH has the modules that its programs link to."""
    prefix = home / ".nvm/versions/node/v20"
    node = program(prefix / "bin/node")
    module = program(prefix / "lib/node_modules/npm/bin/npm-cli.js", "#!/usr/bin/env node\n")
    npm = link(prefix / "bin/npm", "../lib/node_modules/npm/bin/npm-cli.js")
    alias = program(home / ".nvm/alias/default")
    image = Image(home, prefix / "bin")

    assert image.has(node, npm, module)
    assert image.lacks(alias, *secrets(home))


def test_cargo_has_rustup_toolchains_but_no_credentials(home: Path) -> None:
    """Rustup's proxies have their toolchains; Cargo's credentials are hidden."""
    proxy = program(home / ".cargo/bin/rustup")
    cargo = link(home / ".cargo/bin/cargo", "rustup")
    real = program(home / ".rustup/toolchains/stable/bin/cargo")
    settings = program(home / ".rustup/settings.toml")
    registry = program(home / ".cargo/registry/index")
    image = Image(home, home / ".cargo/bin")

    assert image.has(proxy, cargo, real, settings)
    assert image.lacks(registry, *secrets(home))


def test_pyenv_shims_have_pyenv_and_its_versions(home: Path) -> None:
    """A shim has pyenv itself, all its versions, and the file that selects one of them."""
    pyenv = home / ".pyenv"
    shim = program(pyenv / "shims/python", "#!/usr/bin/env bash\n")
    python = program(pyenv / "versions/3.12.1/bin/python")
    helper = program(pyenv / "libexec/pyenv", "#!/usr/bin/env bash\n")
    start = link(pyenv / "bin/pyenv", "../libexec/pyenv")
    chosen = program(pyenv / "version", "3.12.1")
    image = Image(home, pyenv / "shims")

    assert image.has(shim, python, helper, start, chosen)
    assert image.lacks(*secrets(home))


def test_bun_has_the_modules_of_its_tools(home: Path) -> None:
    """A global tool of bun has the whole directory of modules that contains it."""
    modules = home / ".bun/install/global/node_modules"
    entry = program(modules / "tool/dist/cli.js", "#!/usr/bin/env node\n")
    nested = program(modules / "tool/node_modules/dependency/index.js")
    other = program(modules / "other/index.js")
    tool = link(home / ".bun/bin/tool", "../install/global/node_modules/tool/dist/cli.js")
    image = Image(home, home / ".bun/bin")
    tool.unlink()
    inner = link(tool, nested)
    inner_image = Image(home, home / ".bun/bin")

    assert image.has(entry, nested, other)
    assert inner_image.has(inner, entry, nested, other)
    assert image.lacks(*secrets(home))


def test_token_next_to_a_bin_directory_is_hidden(home: Path) -> None:
    """Only the programs of ~/.fly are visible; its file with the token is hidden."""
    tool = program(home / ".fly/bin/flyctl")
    image = Image(home, home / ".fly/bin")

    assert image.has(tool)
    assert image.lacks(*secrets(home))


def test_link_into_a_private_directory_exposes_one_file(home: Path) -> None:
    """A link to a file that is not in a `bin` directory exposes only that file."""
    script = program(home / ".config/gh/extension.sh", "#!/bin/sh\n")
    tool = link(home / "bin/extension", script)
    image = Image(home, home / "bin")

    assert image.has(tool, script)
    assert image.lacks(*secrets(home))


def test_dangling_and_circular_links_are_ignored(home: Path) -> None:
    """Links on PATH without a target are no error."""
    tool = program(home / "bin/tool")
    link(home / "bin/gone", "/gone/bin/tool")
    link(home / "bin/circle", "circle")

    assert Image(home, home / "bin").has(tool)


def test_linked_directory_on_path_has_its_prefix(home: Path) -> None:
    """A PATH entry below a link is visible under that name, with its libraries."""
    real = program(home / ".sdkman/java/21/bin/java")
    library = program(home / ".sdkman/java/21/lib/modules")
    link(home / ".sdkman/java/current", "21")
    image = Image(home, home / ".sdkman/java/current/bin")

    assert image.has(home / ".sdkman/java/current/bin/java")
    assert image.has(home / ".sdkman/java/current/lib/modules")
    assert image.has(real, library)


def test_directory_outside_home_has_its_prefix(home: Path, tmp_path: Path) -> None:
    """A tool installed outside HOME has only the libraries of its prefix."""
    tool = program(tmp_path / "tools/thing/bin/thing")
    library = program(tmp_path / "tools/thing/lib/thing.so")
    other = program(tmp_path / "tools/other/token")
    targets = {mount.target for mount in Image(home, tool.parent).mounts}

    assert PurePosixPath(tool.parent) in targets
    assert PurePosixPath(library.parent) in targets
    assert not any(PurePosixPath(other).is_relative_to(target) for target in targets)


CLOSED = """
import sys
from pathlib import Path
from isosmoke.sandbox.host_mounts import build_host_mounts
closed, home = map(Path, sys.argv[1:])
closed.chmod(0)
mounts = build_host_mounts(f"{closed}/bin:{home}/bin:/usr/bin", home, masked=False)
closed.chmod(0o700)
print(any(str(mount.target).startswith(str(closed)) for mount in mounts))
"""


def test_inaccessible_directory_on_path_is_ignored(
    home: Path, tmp_path: Path, ordinary: Ordinary
) -> None:
    """Another user's directory on PATH, as under sudo, is ignored."""
    inside = program(tmp_path / "closed/bin/tool")
    link(home / "bin/tool", inside)

    assert ordinary(CLOSED, tmp_path / "closed", home) == "False"


TREES = tuple(map(PurePosixPath, ("/etc", "/opt", "/usr/local")))


def is_private(path: Path) -> bool:
    """Return whether only root can read a file, list a directory or connect to a socket."""
    mode = path.stat().st_mode
    if path.is_dir():
        return mode & 0o005 != 0o005
    return mode & 0o006 != 0o006 if path.is_socket() or path.is_fifo() else not mode & stat.S_IROTH


def find_private(top: Path) -> list[Path]:
    """Return all private files and directories below `top`, except links."""
    return [
        path
        for directory, subdirectories, files in os.walk(top)
        for name in (*subdirectories, *files)
        if not (path := Path(directory, name)).is_symlink() and is_private(path)
    ]


def test_masks_hide_files_that_others_may_not_read(home: Path) -> None:
    """If the caller is root, each secret of the system, or its directory, is hidden."""
    mounts = build_host_mounts("/usr/bin", home, masked=True)
    hidden = {mount.target for mount in mounts if is_mask(mount)}

    for path in (path for tree in TREES for path in find_private(Path(tree))):
        assert any(PurePosixPath(step) in hidden for step in (path, *path.parents)), path
    for target in hidden:
        assert not set(TREES).isdisjoint(target.parents)
        assert is_private(Path(target)), target


def is_mask(mount: Mount) -> bool:
    """Return whether a mount hides its target: /dev/null, or an inaccessible empty directory."""
    match mount:
        case ReadOnly(source, target):
            return source == Path(os.devnull) and not Path(target).is_dir()
        case Fresh(target, mode):
            return mode == 0 and Path(target).is_dir()
        case _:
            return False


def test_ordinary_user_needs_no_masks(home: Path) -> None:
    """A user who cannot read the secrets anyway gets no masks."""
    assert not any(is_mask(mount) for mount in build_host_mounts("/usr/bin", home, masked=False))


def _add_tool(home: Path) -> None:
    program(home / "opt/other/bin/other")
    link(home / "bin/other", home / "opt/other/bin/other")


def _move_tool(home: Path) -> None:
    (home / "bin/tool").unlink()
    link(home / "bin/tool", program(home / "opt/new/bin/tool"))


def _move_step(home: Path) -> None:
    (home / "opt/current").unlink()
    program(home / "opt/2/bin/tool")
    link(home / "opt/current", "2")


def _add_library(home: Path) -> None:
    program(home / "opt/1/lib/data")


def _change_interpreter(home: Path) -> None:
    program(home / "opt/python/bin/python")
    program(home / "bin/script", f"#!{home}/opt/python/bin/python\n")


def _add_credentials(home: Path) -> None:
    program(home / "opt/1/share/a/.npmrc", "secret")


def _install_editable(home: Path) -> None:
    (home / "source").mkdir()
    program(home / "opt/1/lib/python3.12/site-packages/a.pth", f"{home}/source\n")


def _remove_tool(home: Path) -> None:
    (home / "bin/tool").unlink()


def _change_nothing(_: Path) -> None:
    pass


@pytest.mark.parametrize(
    "change",
    [
        *(_add_tool, _move_tool, _move_step, _add_library, _change_interpreter),
        *(_add_credentials, _install_editable, _remove_tool, _change_nothing),
    ],
)
def test_known_tools_are_those_of_a_new_search(
    home: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    """With `recall`, the mounts are those that a new search finds, whatever has changed."""
    settle(monkeypatch)
    program(home / "opt/1/bin/tool")
    program(home / "opt/1/share/a/data")
    link(home / "opt/current", "1")
    link(home / "bin/tool", home / "opt/current/bin/tool")
    program(home / "bin/script", "#!/bin/sh\n")
    pass_tick(home)
    build = partial(build_host_mounts, f"{home}/bin:/usr/bin", home, masked=False)
    known = build(recall=True)
    assert build(recall=True) == build() == known

    change(home)

    assert build(recall=True) == build()
    assert (build() == known) == (change is _change_nothing)
